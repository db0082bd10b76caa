"""Reminiscence: fine-tune the unlearned model first. Which images come back to it?"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from unlearnbench.adversary.fine_tuning import losses, tuned
from unlearnbench.adversary.thresholds import two_groups
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario


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
        with torch.no_grad():
            first = losses(models, images, labels)
        if self.params.uses == "loss":
            return Evidence(membership=first, threshold=two_groups(first))
        if self.params.tunes == "auxiliary":
            drawn = view.generator("batches").integers(len(own.labels), size=(self.params.steps, self.params.batch))
            pixels = own.scaled
            batches = [(pixels[rows], own.labels[rows]) for rows in torch.from_numpy(drawn)]
        else:
            models = models.apply(lambda value: value.repeat_interleave(labels.shape[1], 0))
            images, labels = images.flatten(0, 1)[:, None], labels.flatten()[:, None]
            batches = [(images, labels)] * self.params.steps
        models = tuned(models, batches, self.params.lr)
        with torch.no_grad():
            last = losses(models, images, labels)
        drop = first - last.view_as(first)
        return Evidence(membership=drop, threshold=two_groups(drop))
