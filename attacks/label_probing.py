"""Label probing: the class erased is the one of which the model is less sure on inputs that it was surest about."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.models.optimisers import Adam
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario

ASKED = 4_000  # images in one question: every target answers


class LabelProbing(Attack):
    """The label of what was erased, from answers alone (Hu et al., section V).

    For each class c, inputs are made from noise until the model before unlearning is sure of them, p_c >= `sure`: by
    Adam along differences of answers at randomly chosen pixels, as the attack sees no gradient. The class erased is

        argmin_c of the mean over these inputs of p_after,c - p_before,c.

    What is climbed is the log-odds of c rather than p_c, which has no slope where it is close to 0 or 1. Inputs that
    are not sure when the budget ends are used as they are. A set is taken to be of one class.
    """

    paper = "Hu, Wang, Dong, Wang, Xue: Learn What You Want to Unlearn: Unlearning Inversion Attacks, S&P 2024"
    ranks_by = ("label_accuracy",)

    class Params(PluginParams):
        budget: int = Field(
            500_000, ge=1, description="images that each target's models may be asked about; probing stops before it"
        )
        inputs: int = Field(10, ge=1, description="for each class")
        sure: float = Field(0.9995, gt=0, lt=1, description="probability at which an input is left alone")
        coordinates: int = Field(64, ge=1, description="pixels of each input that are varied in a step: two questions")
        difference: float = Field(0.01, gt=0, le=0.5, description="by how much, in units of the range of grey levels")
        rate: float = Field(0.05, gt=0, description="Adam's learning rate, in the same units")

    @property
    def access(self) -> Access:
        return Access(level="log_probabilities", budget=self.params.budget)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "label_probing needs a leak experiment"
        return None

    def run(self, view: AttackView) -> Evidence:
        inputs, classes = self._sure_inputs(view)
        before, after = (
            torch.cat([view.ask(which, part) for part in inputs.split(ASKED)], 1).exp() for which in ("before", "after")
        )
        change = (after - before).gather(2, classes[None, :, None].expand(len(after), -1, 1))
        scores = -change.view(len(after), view.classes, -1).mean(2)
        return Evidence(label_scores=scores[:, None].repeat(1, view.erased_count, 1))

    def _sure_inputs(self, view: AttackView) -> tuple[Tensor, Tensor]:
        """Inputs f32[n, C, H, W] and the classes i64[n] that the model before unlearning takes them for."""
        params, count = self.params, view.classes * self.params.inputs
        classes = torch.arange(view.classes).repeat_interleave(params.inputs)
        generator = view.generator("probing")
        inputs = torch.from_numpy(generator.random((count, *view.shape), dtype="float32")).flatten(1)
        pixels = inputs.shape[1]
        varied = min(params.coordinates, pixels)
        enough = torch.tensor(params.sure).logit()
        adam, unsure = Adam(params.rate), torch.arange(count)
        left = params.budget - 2 * count  # the last question is about all of them, before and after
        while len(unsure) and left >= 2 * varied * len(unsure):
            left -= 2 * varied * len(unsure)
            places = torch.from_numpy(generator.random((len(unsure), pixels))).argsort(1)[:, :varied]
            odds, slope = self._slope(view, inputs[unsure], classes[unsure], places)
            moved = inputs[unsure]
            adam.step({"inputs": moved}, [-slope])
            inputs[unsure] = moved.clamp(0, 1)
            still = odds < enough
            adam.keep(still)
            unsure = unsure[still]
        return inputs.view(count, *view.shape), classes

    def _slope(self, view: AttackView, inputs: Tensor, classes: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds f32[m] of the classes, about, and their slope f32[m, C H W] by the pixels at `places`, i64[m, k]."""
        steps = F.one_hot(places, inputs.shape[1]) * self.params.difference
        both = torch.stack([inputs[:, None] + steps, inputs[:, None] - steps], 1).clamp(0, 1)
        flat = both.flatten(0, 2).view(-1, *view.shape)
        log_p = torch.cat([view.ask("before", part)[0] for part in flat.split(ASKED)])
        own = classes.repeat_interleave(2 * places.shape[1])[:, None]
        others = log_p.scatter(1, own, -torch.inf).logsumexp(1)
        odds = (log_p.gather(1, own)[:, 0] - others).view(len(inputs), 2, -1)
        moved = both.gather(3, places[:, None, :, None].expand(-1, 2, -1, -1))[..., 0]
        slopes = (odds[:, 0] - odds[:, 1]) / (moved[:, 0] - moved[:, 1])
        return odds.mean((1, 2)), torch.zeros_like(inputs).scatter(1, places, slopes)
