"""Apollo: labels of the unlearned model alone, on images for which models that never saw the candidate disagree."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.adversary.fine_tuning import logits_of, tuned
from unlearnbench.adversary.thresholds import two_groups
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Images, PluginParams, Scenario, Stack

MOST = 1_000  # of her own images that a surrogate is trained on
BATCH, RATE, HIDDEN = 32, 3e-3, 64  # of training the surrogates (Adam)
SURE = 1e-3  # least probability that surrogates are taken to give an answer


class Apollo(Attack):
    """Tang et al.'s offline attack: the unlearned model's labels, and surrogates that saw no candidate.

    From each candidate two paths lead outwards, a step on each shell about it, along gradients of the surrogates' loss:
    one to images that they classify wrongly (a model that still says y there has under-unlearned the candidate), one to
    images that they classify rightly (a model that no longer says y there has over-unlearned it). The unlearned model's
    label is asked for at each step. The score of a candidate is the largest surprise on its paths: - log of the mean
    probability that the surrogates give to what was answered, y or a class other than y. That is the strictest
    threshold of confidence at which the published rule finds the candidate on one of the two paths.
    """

    paper = (
        "Tang, Joshi, Kundu: Apollo: A Posteriori Label-Only Membership Inference Attack Towards Machine Unlearning,"
        " 2025"
    )
    ranks_by = ("auc",)

    class Params(PluginParams):
        budget: int = Field(160, ge=1, description="images that each target's unlearned model is asked about")
        radius: float = Field(0.15, gt=0, description="of the last shell: root mean square change of a pixel, of 1")
        surrogates: int = Field(
            16, ge=2, description="models of the adversary's own, each trained on half of her images"
        )
        epochs: int = Field(30, ge=1, description="of training them")
        boundary: float = Field(
            0.0, ge=0, description="weight of staying near the surrogates' boundary on the paths; published: above 0"
        )

    @property
    def access(self) -> Access:
        return Access(level="label", before=False, budget=self.params.budget)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "apollo needs a leak experiment"
        least = 2 * (scenario.erased_count or 1) * (1 + scenario.negatives)
        if self.params.budget < least:
            return f"{least // 2} candidates need a budget of at least {least}, and it is {self.params.budget}"
        return None

    def run(self, view: AttackView) -> Evidence:
        updates = view.updates()
        labels, images = updates.candidate_labels, updates.candidates.float() / 255
        models = self._surrogates(view.auxiliary, view)
        steps = self.params.budget // (2 * labels.shape[1])
        surprise = torch.zeros(labels.shape)
        for sign in (-1.0, 1.0):  # under-unlearning, then over-unlearning
            for points, confidence in self._path(models, images.flatten(0, 1), labels.flatten(), steps, sign):
                holds = view.ask("after", points.view_as(images)).argmax(2) == labels
                likely = torch.where(holds, confidence.view_as(surprise), 1 - confidence.view_as(surprise))
                surprise = torch.maximum(surprise, -likely.clamp_min(SURE).log())
        return Evidence(membership=surprise, threshold=two_groups(surprise))

    def _path(
        self, models: Stack, images: Tensor, labels: Tensor, steps: int, sign: float
    ) -> list[tuple[Tensor, Tensor]]:
        """Images f32[n, C, H, W] on shell after shell about the candidates, and the surrogates' confidence f32[n] in y.

        Args:
            sign: 1: towards what surrogates classify rightly; -1: wrongly.
        """
        width, found, points = self.params.radius * math.sqrt(images[0].numel()) / steps, [], images
        for step in range(1, steps + 1):
            asked = points.clone().requires_grad_()
            logits = logits_of(models, asked)
            first, second = logits.topk(2, dim=2).values.unbind(2)
            truth = labels.expand(logits.shape[:2])
            cost = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth)
            (slope,) = torch.autograd.grad((self.params.boundary * (first - second) + sign * cost).mean(0).sum(), asked)
            moved = points - width * _direction(slope)
            points = (images + step * width * _direction(moved - images)).clamp(0, 1)
            with torch.no_grad():
                confidence = logits_of(models, points).softmax(2).mean(0).gather(1, labels[:, None])[:, 0]
            found.append((points, confidence))
        return found

    def _surrogates(self, own: Images, view: AttackView) -> Stack:
        """Models that were trained on random halves of the adversary's own images."""
        count, generator = self.params.surrogates, view.generator("surrogates")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(view.torch_seed("surrogates"))
            models = Stack.of([_Perceptron(own.pixels[0].numel(), view.classes) for _ in range(count)])
        each = min(len(own.labels) // 2, MOST)
        halves = torch.from_numpy(generator.random((count, len(own.labels))).argsort(1)[:, :each])
        pixels, batches = own.scaled, []
        for _ in range(self.params.epochs):
            order = torch.from_numpy(generator.random((count, each)).argsort(1))
            batches += halves.gather(1, order).split(BATCH, 1)
        return tuned(models, ((pixels[rows], own.labels[rows]) for rows in batches), RATE)


class _Perceptron(nn.Module):
    """A surrogate, of any architecture: labels alone do not show the target's."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(pixels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    def forward(self, images: Tensor, noise: None = None) -> Tensor:
        logits: Tensor = self.layers(images.flatten(1))
        return logits


def _direction(vectors: Tensor) -> Tensor:
    """Vectors f32[n, ...] of length 1; of length 0 where they are 0."""
    return F.normalize(vectors.flatten(1), dim=1).view_as(vectors)
