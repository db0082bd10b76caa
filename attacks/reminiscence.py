"""Reminiscence: fine-tune the unlearned model first. Which images come back to it?"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.thresholds import two_groups
from unlearnbench.models.optimisers import Adam
from unlearnbench.models.stack import Functional
from unlearnbench.models.vectorised import vectorised
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario, Stack


class Reminiscence(Attack):
    """An active adversary: she holds the unlearned model's weights and trains on before she infers anything.

    What approximate unlearning leaves behind makes an erased image come back faster than a never-seen one is learned.
    She fine-tunes a copy of the unlearned model for a few steps of Adam, on images of her own, or on the candidate
    itself with its label; the score of a candidate is the fall of its loss in these steps. `uses: loss` is the passive
    adversary beside her, who scores the loss of the unlearned model as it is.

    She sees nothing from before unlearning. Where a model was retrained, no image has anything to come back to.
    """

    paper = "Xiao et al.: Reminiscence Attack on Residuals: Exploiting Approximate Machine Unlearning for Privacy, 2025"
    ranks_by = ("auc",)

    class Params(PluginParams):
        uses: Literal["drop", "loss"] = Field(
            "drop", description="the fall of a candidate's loss in fine-tuning, or its loss before fine-tuning"
        )
        tunes: Literal["auxiliary", "candidate"] = Field(
            "auxiliary", description="images that are fine-tuned on: the adversary's own, or each candidate by itself"
        )
        steps: int = Field(20, ge=1, description="steps of fine-tuning")
        batch: int = Field(64, ge=1, description="her own images in a step")
        lr: float = Field(1e-3, gt=0, description="learning rate of fine-tuning (Adam)")

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if self.uses == "loss":
                self.refuse(["tunes", "steps", "batch", "lr"], "uses 'loss'")
            if self.tunes == "candidate":
                self.refuse(["batch"], "tunes 'candidate'")
            return self

    @property
    def access(self) -> Access:
        return Access(level="parameters", before=False)

    def skip(self, scenario: Scenario) -> str | None:
        return None if scenario.kind == "leak" else "reminiscence needs a leak experiment"

    def run(self, view: AttackView) -> Evidence:
        updates, models, own = view.updates(), view.models("after"), view.auxiliary
        labels, images = updates.candidate_labels, updates.candidates.float() / 255
        first = _losses(models, models.params, images, labels)
        if self.params.uses == "loss":
            score = first
        elif self.params.tunes == "auxiliary":
            drawn = view.generator("batches").integers(len(own.labels), size=(self.params.steps, self.params.batch))
            pixels = own.scaled
            tuned = self._tuned(models, [(pixels[rows], own.labels[rows]) for rows in torch.from_numpy(drawn)])
            score = first - _losses(models, tuned, images, labels)
        else:
            many = models.apply(lambda value: value.repeat_interleave(labels.shape[1], 0))
            alone = images.flatten(0, 1)[:, None], labels.flatten()[:, None]
            tuned = self._tuned(many, [alone] * self.params.steps)
            score = first - _losses(many, tuned, *alone).view_as(first)
        return Evidence(membership=score, threshold=two_groups(score))

    def _tuned(self, models: Stack, batches: list[tuple[Tensor, Tensor]]) -> Mapping[str, Tensor]:
        """The parameters of all models after a step on each batch."""
        params = {name: value.clone() for name, value in models.params.items()}
        adam = Adam(self.params.lr)
        for images, labels in batches:
            for value in params.values():
                value.requires_grad_()
            loss = _losses(models, params, images, labels).mean(1).sum()
            gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
            params = {name: value.detach() for name, value in params.items()}
            adam.step(params, gradients)
        return params


def _losses(models: Stack, params: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy f32[K, n] of K models with these parameters on images f32[n, C, H, W], or [K, n, C, H, W]."""
    router = models.router(training=False)

    def one(own: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return Functional(router, own, buffers)(x)

    dims = (0, 0, 0 if images.ndim == 5 else None)
    logits = vectorised(one, router.is_looped, dims)(params, models.buffers, images)
    truth = labels.expand(logits.shape[:2])
    losses: Tensor = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
    return losses
