"""Random wrong labels, which several methods teach a model in the place of what it must forget."""

from __future__ import annotations

from torch import Tensor

from unlearnbench.models.noise import Noise
from unlearnbench.splits.batches import Batch
from unlearnbench.training.phases import Models


def wrong_labels(models: Models, erased: Batch, noise: Noise) -> Tensor:
    """One label for each image, i64[B], uniform over the classes that are not its own."""
    classes = models.frozen(erased.images[:1]).shape[-1]
    # Rounding may lift a number just under 1 to the number of other classes, which would be the image's own label.
    others = (noise.uniform(len(erased.labels)) * (classes - 1)).long().clamp(max=classes - 2)
    return (erased.labels + 1 + others) % classes
