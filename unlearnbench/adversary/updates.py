"""What an attack is handed and claims. Shapes as in plugin.py, which contributors import these from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from torch import Tensor


class Updates(NamedTuple):
    """n erasures as the adversary sees them. Outputs have D numbers per image at the declared level."""

    probe_before: Tensor  # f32[1 or n, P, D]
    probe_after: Tensor  # f32[n, P, D]
    candidates: Tensor  # u8[n, c, C, H, W]: erased and never-seen images of the same classes, shuffled
    candidate_labels: Tensor  # i64[n, c]
    candidates_before: Tensor  # f32[n, c, D]
    candidates_after: Tensor  # f32[n, c, D]
    # Level `parameters` only, by the parameter's name: what unlearning changed, f32[n, ...], after - before.
    parameter_changes: Mapping[str, Tensor] = {}


class ShadowUpdates(NamedTuple):
    """Updates whose answers the adversary knows, having erased the images herself."""

    updates: Updates
    images: Tensor  # u8[n, s, C, H, W], what was erased
    labels: Tensor  # i64[n, s]
    erased: Tensor  # bool[n, c]: which candidates were erased
    validation: Tensor  # bool[n]: shadows whose images (tier `disjoint`: and models) no other shadow used
    model: Tensor  # i64[n]: which original a shadow started from; all 0 in the tier `same`


class InAndOut(NamedTuple):
    """M models' outputs on the targets' candidates; each was trained on a random half of them.

    A model that had a candidate was made to forget it, a model that had not forgot another of its class.
    """

    before: Tensor  # f32[M, T, c, D], outputs of models before unlearning
    after: Tensor  # f32[M, T, c, D], and after
    was_in: Tensor  # bool[M, T, c], whether the model was trained with it


class RetrainedModels(NamedTuple):
    """For each of T targets, N originals that forgot it, and 2N models that never saw it, all of other seeds: one
    question is whether the two kinds can be told apart.

    Had an original forgotten perfectly, it would be one more of the models that never saw the target: they are trained
    on images drawn alike. Each target's models are asked about n images, its own erased ones first; targets share the
    models that are retrained, and an original forgets several targets, each time from the start.
    """

    unlearned: Tensor  # f32[T, N, n, D]
    retrained: Tensor  # f32[T, N, n, D]
    null: Tensor  # f32[T, N, n, D], further retrained models: in place of the unlearned ones they differ by chance only
    labels: Tensor  # i64[T, n]
    part: Sequence[str]  # of each of the n images, alike for all targets: erased, remaining or unseen


class Measured(NamedTuple):
    """A number that an attack has measured itself."""

    value: float
    n: int = 0  # samples behind it; 0: not counted
    low: float | None = None  # of its 95 % interval within this seed
    high: float | None = None

    @classmethod
    def of(cls, value: float | Measured) -> Measured:
        """A bare number is one that was not counted."""
        return value if isinstance(value, Measured) else cls(float(value))


class Evidence(NamedTuple):
    """What an attack claims. Give what it infers, leave the rest None.

    `subject` says about whom: the T targets' erased images, or the view's challenge images.
    """

    images: Tensor | None = None  # f32[T, s, C, H, W] or f32[n, C, H, W], in [0, 1]
    label_scores: Tensor | None = None  # f32[T, s, Y]
    membership: Tensor | None = None  # f32[T, c] or f32[n]: higher means more likely erased (or a member)
    threshold: float | None = None  # membership above it is a yes; chosen without looking at the targets' truth
    subject: Literal["erased", "challenge"] = "erased"
    # Further numbers, by names of the metric catalogue, with the number of samples behind each.
    metrics: Mapping[str, float | Measured] = {}
    # Membership, of the same shape, by the attack's own baseline that ignores the update. Both must be probabilities:
    # the gain in confidence of the true answer is scored.
    baseline: Tensor | None = None
