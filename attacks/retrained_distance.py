"""The distance between models that unlearned and models that never learned, as distributions per image."""

import numpy as np
from pydantic import Field

from unlearnbench.metrics import epsilon
from unlearnbench.metrics.distributions import Smoothing, klom, klom_ceiling, margin
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Level, Measured, PluginParams, Scenario

PERCENTILE = 95  # of the images' divergences, as Georgiev et al. report


class RetrainedDistance(Attack):
    """KLoM on erased, remaining and unseen images, and a lower confidence bound on the challenge's epsilon.

    For every target, N models that unlearned it are compared with N models that never saw it, all with different seeds,
    by their margins on each image. With few models any two sets of them seem to differ. So each number comes with its
    null, for which N further models that never saw the target replace those that unlearned it, and with the largest
    value that N models can show. A bound of 0 on epsilon says that these models did not show a difference, not that
    there is none.

    With T targets it costs about 6N trainings, which all methods share, and NT erasures with each method.
    """

    version = 2
    paper = (
        "Georgiev et al.: Attribute-to-Delete, 2024 (KLoM);"
        " Triantafillou et al.: Are We Making Progress in Unlearning? NeurIPS 2023 competition (epsilon)"
    )
    ranks_by = ("epsilon_erased",)

    class Params(PluginParams):
        observe: Level = Field("log_probabilities", description="observation level: (log-)probabilities")
        retrained: int = Field(
            128, ge=4, description="N, models that unlearned each target, and as many that never saw it; a shift of one"
            " standard deviation is found on 62 % of images with 64, on 89 % with 128"
        )  # fmt: skip
        smoothing: Smoothing = Field(
            "half", description="of KLoM's bins: half a model in each, or `published`: a floor for missing bins"
        )

    @property
    def access(self) -> Access:
        level: Level = self.params.observe
        if level == "representation":  # `skip`, which is called later, refuses it with a reason
            level = "log_probabilities"
        return Access(level=level, retrained=self.params.retrained)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "the distance to retrained models needs a leak experiment"
        if self.params.observe not in ("log_probabilities", "probabilities"):
            return f"margins need the probability of every class, which level {self.params.observe} does not show"
        return None

    def run(self, view: AttackView) -> Evidence:
        models = view.retrained_models()
        # f64[T, N, n]; each image belongs to one target.
        unlearned, retrained, null = (
            margin(outputs, models.labels[:, None], self.params.observe).numpy()
            for outputs in (models.unlearned, models.retrained, models.null)
        )
        part = np.asarray(models.part)
        metrics = {
            f"klom_{name}": self._klom(_images(unlearned, part == name), _images(retrained, part == name))
            for name in np.unique(part)
        }
        forgot, never, again = (_images(margins, part == "erased") for margins in (unlearned, retrained, null))
        bounds, chance = epsilon.lower_bound(forgot, never), epsilon.lower_bound(again, never)
        images = len(bounds)
        metrics |= {
            "klom_null": self._klom(again, never),
            "klom_ceiling": Measured(klom_ceiling(len(never), self.params.smoothing), images),
            "epsilon_erased": Measured(float(np.median(bounds)), images),
            "epsilon_null": Measured(float(np.median(chance)), images),
            "epsilon_ceiling": Measured(epsilon.largest_bound(len(never)), images),
            "epsilon_share": Measured(float((bounds > 0).mean()), images),
            "epsilon_share_null": Measured(float((chance > 0).mean()), images),
            "epsilon_fitted": Measured(float(np.median(epsilon.fitted(forgot, never))), images),
        }
        return Evidence(metrics=metrics)

    def _klom(self, first: np.ndarray, second: np.ndarray) -> Measured:
        divergences = klom(first, second, self.params.smoothing)
        return Measured(float(np.percentile(divergences, PERCENTILE)), len(divergences))


def _images(margins: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The margins f64[T, N, n] of one part of the images, as f64[N, T * p]."""
    return np.moveaxis(margins[:, :, part], 1, 0).reshape(margins.shape[1], -1)
