"""How far models that forgot are from models that never learned: two distributions, compared image by image."""

import numpy as np
from pydantic import Field

from unlearnbench.metrics.distributions import Smoothing, epsilon, klom, margin
from unlearnbench.plugin import Access, Attack, Evidence
from unlearnbench.settings import Level, PluginParams, Scenario
from unlearnbench.view import AttackView

PERCENTILE = 95  # of the images' divergences, as Georgiev et al. report


class RetrainedDistance(Attack):
    """KLoM on erased, remaining and unseen images, and the challenge's epsilon on erased ones.

    Both compare the margins of models that unlearned with those of models retrained without the erased images, all of
    other seeds. A few models make any two sets of them look apart: `klom_null` is the divergence between two halves of
    the retrained models (each half the size, so somewhat too large), and the method `retrain` under this attack is the
    reference of equal size.
    """

    paper = (
        "Georgiev et al.: Attribute-to-Delete, 2024 (KLoM);"
        " Triantafillou et al.: Are We Making Progress in Unlearning? NeurIPS 2023 competition (epsilon)"
    )
    ranks_by = ("epsilon_erased",)

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        retrained: int = Field(16, ge=4, description="models that unlearned, and as many retrained ones")
        smoothing: Smoothing = Field(
            "half", description="of KLoM's bins: half a model in each, or `published`: a floor for missing bins"
        )

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, retrained=self.params.retrained)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "the distance to retrained models needs a leak experiment"
        if self.params.observe not in ("log_probabilities", "probabilities"):
            return f"margins need the probability of every class, which level {self.params.observe} does not show"
        return None

    def run(self, view: AttackView) -> Evidence:
        models = view.retrained_models()
        unlearned, retrained = (
            margin(outputs, models.labels, self.params.observe).numpy()
            for outputs in (models.unlearned, models.retrained)
        )
        part = np.asarray(models.part)
        metrics = {f"klom_{name}": self._klom(unlearned, retrained, part == name) for name in np.unique(part)}
        erased, half = part == "erased", len(retrained) // 2
        metrics["klom_null"] = self._klom(retrained[:half], retrained[half:], erased)
        metrics["epsilon_erased"] = float(np.median(epsilon(unlearned[:, erased], retrained[:, erased])))
        return Evidence(metrics=metrics)

    def _klom(self, first: np.ndarray, second: np.ndarray, images: np.ndarray) -> float:
        return float(np.percentile(klom(first[:, images], second[:, images], self.params.smoothing), PERCENTILE))
