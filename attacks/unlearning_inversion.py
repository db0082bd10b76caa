"""Unlearning inversion: the erased image is the one whose erasure changes the weights as they have changed."""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from unlearnbench.adversary.gradient_matching import Ascent, ChangeMatching
from unlearnbench.adversary.image_search import trivial_answers
from unlearnbench.metrics.reconstruction import class_means
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario, Stack

FAR = 4.0  # above every loss: the cosine's distance is at most 2, and the total variation is small


class UnlearningInversion(Attack):
    """Gradient inversion (Hu et al., section IV): minimises over x in [0, 1]

        1 - cos(change by erasing (x, y), theta_after - theta_before) + tv * TV(x)

    by Adam on the signs of the gradient; the start of lowest loss wins. White box, without shadows. Their erasure is
    one gradient step, so that the change is a gradient. The harness's methods step with Adam, which divides by the
    gradient's size: `optimiser: adam` simulates that, smoothed at first, or no start would find its way down.

    The authors give the label. Here it is inferred: classes are ordered by how well erasing the adversary's mean image
    of each would explain the change, the first few are searched, and the lowest loss wins. `label: given` reads it from
    the candidates, all of which are of the erased image's class.

    Erasing is simulated as ascent on the cross-entropy, at the mean of p(Z|x): a method that minimises other terms
    beside it moves otherwise after its first step, and is found less well.
    """

    paper = "Hu, Wang, Dong, Wang, Xue: Learn What You Want to Unlearn: Unlearning Inversion Attacks, S&P 2024"

    class Params(PluginParams):
        optimiser: Literal["adam", "sgd"] = Field("adam", description="of the simulated erasure; sgd: as published")
        steps: int = Field(1, ge=1, description="of the simulated erasure")
        lr: float = Field(1e-3, gt=0, description="its learning rate; with one step it has no effect")
        label: Literal["inferred", "given"] = Field("inferred", description="given: as published")
        classes: int = Field(3, ge=1, description="inferred: how many classes are searched")
        starts: int = Field(1, ge=1, description="searches for each class")
        start: Literal["class_mean", "noise"] = Field(
            "class_mean", description="of the first search: the adversary's mean image of the class, or noise, as"
            " published; further ones start at noise"
        )  # fmt: skip
        iterations: int = Field(300, ge=1, description="of each search; published: 10,000")
        rate: float = Field(0.04, gt=0, description="learning rate of the search, halved after 3/8, 5/8 and 7/8 of it")
        tv: float = Field(0.01, ge=0, description="weight of the total variation")

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if self.label == "given":
                self.refuse(["classes"], "label 'given'")
            if self.steps == 1:
                self.refuse(["lr"], "an erasure of one step")
            return self

    @property
    def access(self) -> Access:
        return Access(level="parameters")

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "unlearning_inversion needs a leak experiment"
        if scenario.erased_count != 1:
            return f"unlearning_inversion rebuilds one image; erased_count is {scenario.erased_count}"
        return None

    def run(self, view: AttackView) -> Evidence:
        updates = view.updates()
        return self.answer(view, view.models("before"), updates.parameter_changes, updates.candidate_labels[:, :1])

    def answer(self, view: AttackView, model: Stack, change: Mapping[str, Tensor], given: Tensor) -> Evidence:
        """The evidence from what erasing has changed a model's parameters by.

        Args:
            model: before erasing, one replica.
            change: {name: f32[T, ...]}; zero where erasing left no trace.
            given: i64[T, 1], the labels for an adversary who is given them.
        """
        auxiliary, targets = view.auxiliary, len(given)
        means = class_means(auxiliary.scaled, auxiliary.labels, view.classes)
        images, scores = trivial_answers(auxiliary, view.classes, targets)
        left = torch.stack([value.flatten(1).ne(0).any(1) for value in change.values()]).any(0)
        labels = given if self.params.label == "given" else None
        if left.any():
            traces = {name: value[left] for name, value in change.items()}
            known = None if labels is None else labels[left]
            images[left], scores[left] = self.invert(model, traces, means, known, view)
        return Evidence(images=images[:, None], label_scores=scores[:, None] if labels is None else None)

    def invert(
        self, model: Stack, change: Mapping[str, Tensor], means: Tensor, labels: Tensor | None, view: AttackView
    ) -> tuple[Tensor, Tensor]:
        """Images f32[T, C, H, W] and the scores f32[T, Y] of their labels.

        Args:
            change: {name: f32[T, ...]}, none of which is zero.
            means: f32[Y, C, H, W].
            labels: i64[T, 1] if they are known.
        """
        params = self.params
        ascent = Ascent(params.optimiser, params.steps, params.lr, smoothing=1.0)
        matching = ChangeMatching(ascent, params.tv, params.iterations, params.rate)
        targets, classes = len(next(iter(change.values()))), len(means)

        def repeated(times: int) -> dict[str, Tensor]:
            return {name: value.repeat_interleave(times, 0) for name, value in change.items()}

        tried = torch.arange(classes).repeat(targets)
        errors = matching.errors(model, repeated(classes), means[tried], tried).view(targets, classes)
        if labels is None:
            labels = errors.argsort(1)[:, : params.classes]
        # Rows are targets, then starts, then labels.
        rows = labels[:, None].expand(-1, params.starts, -1)
        noise = view.generator("starts").random((*rows.shape, *means.shape[1:]), dtype="float32")
        start = torch.from_numpy(noise)
        if params.start == "class_mean":
            start[:, 0] = means[labels]
        each = params.starts * labels.shape[1]
        images, losses = matching.images(model, repeated(each), start.flatten(0, 2), rows.flatten())
        losses = losses.view(targets, each)
        chosen = images.view(targets, each, *means.shape[1:])[torch.arange(targets), losses.argmin(1)]
        scores = -(FAR + errors)
        lowest = losses.view(rows.shape).amin(1)
        return chosen, scores.scatter(1, labels, -lowest)
