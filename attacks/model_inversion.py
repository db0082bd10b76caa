"""Model inversion: the image that a model is surest of, for the class of which it has become less sure."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.fine_tuning import logits_of
from unlearnbench.adversary.image_search import search, total_variation, trivial_answers
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario, Stack


class ModelInversion(Attack):
    """For each class c the image in [0, 1] that maximises (Fredrikson et al., by gradient)

        log p_c(x) - tv * TV(x)

    starting at mid-grey. The class erased is the one whose image, found in the model before, lost the
    most log-probability; the answer is its image. With `model: after` the image is found in the model after instead, so
    that the two settings side by side say what unlearning has taken from it.

    Such an image is what the model is surest of, which resembles images of the class only where the model is built like
    a template. What unlearning has changed enters by the choice of the class alone.
    """

    paper = (
        "Fredrikson, Jha, Ristenpart: Model Inversion Attacks that Exploit Confidence Information, CCS 2015;"
        " Graves, Nagisetty, Ganesh: Amnesiac Machine Learning, AAAI 2021 (before against after)"
    )
    ranks_by = ("skill_mean", "label_accuracy")

    class Params(PluginParams):
        model: Literal["before", "after"] = Field("before", description="the model whose image is the answer")
        iterations: int = Field(200, ge=1, description="of each search")
        rate: float = Field(0.04, gt=0, description="learning rate of the search, halved after 3/8, 5/8 and 7/8 of it")
        tv: float = Field(0.01, ge=0, description="weight of the total variation")

    @property
    def access(self) -> Access:
        return Access(level="parameters")

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "model_inversion needs a leak experiment"
        if scenario.erased_count != 1:
            return f"model_inversion rebuilds one image; erased_count is {scenario.erased_count}"
        return None

    def run(self, view: AttackView) -> Evidence:
        before, after = view.models("before"), view.models("after")
        start = torch.full((view.classes, *view.shape), 0.5)
        found = self._typical(before, start)  # f32[1, Y, C, H, W]
        shown = found.expand(after.replicas, *found.shape[1:])
        with torch.no_grad():
            scores = _log_probabilities(before, found) - _log_probabilities(after, shown)
        if self.params.model == "after":
            shown = self._typical(after, start)
        images, labels = trivial_answers(view.auxiliary, view.classes, after.replicas)
        left = torch.stack([(after.params[n] != value).flatten(1).any(1) for n, value in before.params.items()]).any(0)
        images[left] = shown[torch.arange(after.replicas), scores.argmax(1)][left]
        labels[left] = scores[left]
        return Evidence(images=images[:, None], label_scores=labels[:, None])

    def _typical(self, models: Stack, start: Tensor) -> Tensor:
        """Each of K models' images of all classes, f32[K, Y, C, H, W], from a start f32[Y, C, H, W]."""
        shape = (models.replicas, *start.shape)

        def loss(images: Tensor) -> Tensor:
            value: Tensor = self.params.tv * total_variation(images)
            return value - _log_probabilities(models, images.view(shape)).flatten()

        starts = start.expand(shape).flatten(0, 1)
        return search(loss, starts, self.params.iterations, self.params.rate)[0].view(shape)


def _log_probabilities(models: Stack, images: Tensor) -> Tensor:
    """log p_c of each model's image of class c, f32[K, Y] of f32[K, Y, C, H, W]."""
    return F.log_softmax(logits_of(models, images), 2).diagonal(dim1=1, dim2=2)
