"""What an attack is handed and what it claims. Contributors import these from plugin.py, which explains the shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Updates(NamedTuple):
    """n erasures as the adversary sees them. At the declared level an output has D numbers per image.

    Without `before` in the attack's access there is nothing from before: tensors with 0 instead of n rows.
    """

    probe_before: Tensor  # f32[1 or n, P, D]
    probe_after: Tensor  # f32[n, P, D]
    # u8[n, c, C, H, W]: erased and never-seen images of the same classes, with access `remaining` also remaining ones
    candidates: Tensor
    candidate_labels: Tensor  # i64[n, c]
    candidates_before: Tensor  # f32[n, c, D]
    candidates_after: Tensor  # f32[n, c, D]
    # Level `parameters` only: after - before, f32[n, ...], by the parameter's name.
    parameter_changes: Mapping[str, Tensor] = {}


class ShadowUpdates(NamedTuple):
    """Updates for which the adversary knows the truth, having erased the images herself."""

    updates: Updates
    images: Tensor  # u8[n, s, C, H, W], what was erased
    labels: Tensor  # i64[n, s]
    erased: Tensor  # bool[n, c]: which candidates were erased
    validation: Tensor  # bool[n]: shadows with images (tier `disjoint`: and models) that no other shadow used
    model: Tensor  # i64[n]: the original that a shadow started from; all 0 in the tier `same`


class InAndOut(NamedTuple):
    """Outputs of M models on the targets' candidates; each model was trained on a random half of them.

    A model trained with a candidate has unlearned it; a model trained without it has unlearned another of its class.
    The population is the probe images, which no model was trained on.
    """

    before: Tensor  # f32[M, T, c, D], outputs of models before unlearning
    after: Tensor  # f32[M, T, c, D], and after
    was_in: Tensor  # bool[M, T, c], whether the model was trained with it
    population_before: Tensor = torch.empty(0)  # f32[M, P, D], outputs on the view's probe images before unlearning
    population_after: Tensor = torch.empty(0)  # f32[M, P, D], and after one of the model's erasures


class RetrainedModels(NamedTuple):
    """For each of T targets, N originals that unlearned it, and 2N models that never saw it, all with different seeds.
    The question is whether the two kinds can be distinguished.

    An original that has forgotten perfectly is like one more model that never saw the target, since both are trained on
    images drawn in the same way. Each target's models are queried about n images, its own erased ones first. Targets
    share the retrained models, and an original unlearns several targets, each time from the start.
    """

    unlearned: Tensor  # f32[T, N, n, D]
    retrained: Tensor  # f32[T, N, n, D]
    null: Tensor  # f32[T, N, n, D], further retrained models; they differ from `retrained` by chance only
    labels: Tensor  # i64[T, n]
    part: Sequence[str]  # of each of the n images, the same for all targets: erased, remaining or unseen


class Measured(NamedTuple):
    """A number that an attack has measured itself."""

    value: float
    n: int = 0  # number of samples behind it; 0: not counted
    low: float | None = None  # of its 95 % interval within this seed
    high: float | None = None

    @classmethod
    def of(cls, value: float | Measured) -> Measured:
        """A bare number becomes a value without a count."""
        return value if isinstance(value, Measured) else cls(float(value))


class Evidence(NamedTuple):
    """What an attack claims. Give what it infers, and leave the rest None.

    `subject` says about which images: the T targets' erased images, the view's challenge images, or the remaining ones
    among the candidates, which access `remaining` adds (membership: was it trained on, and not erased?).
    """

    images: Tensor | None = None  # f32[T, s, C, H, W] or f32[n, C, H, W], in [0, 1]
    label_scores: Tensor | None = None  # f32[T, s, Y]
    membership: Tensor | None = None  # f32[T, c] or f32[n]: higher means more likely erased (or a member)
    threshold: float | None = None  # membership above it counts as yes; chosen without the targets' truth
    subject: Literal["erased", "challenge", "remaining"] = "erased"
    # Further metrics, by their names in the metric catalogue, with the number of samples behind each.
    metrics: Mapping[str, float | Measured] = {}
    # Membership by the attack's own baseline, which ignores the update; of the same shape. Both must be probabilities:
    # the gain in confidence in the true answer is scored.
    baseline: Tensor | None = None
