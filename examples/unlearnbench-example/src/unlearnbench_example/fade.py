"""Fade: forget a little of everything."""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from unlearnbench.plugin import Batch, Context, Models, Noise, Phase, PluginParams, TransformMethod


class Fade(TransformMethod):
    """Every parameter becomes (1 - rate) of itself, once a step until the stop rule ends it.

    It shows the form of a method that computes new parameters in one go; as a method it is worth nothing, because it
    looks at no image.
    """

    version = 1
    paper = "unlearnbench's example"

    class Params(PluginParams):
        rate: float = Field(0.05, gt=0, lt=1, description="share of each parameter that is lost, per step")

    def phases(self, context: Context) -> list[Phase]:
        return [Phase(batch=context.scenario.training.batch)]

    def transform(
        self, models: Models, erased: Batch | None, remaining: Batch | None, noise: Noise
    ) -> Mapping[str, Tensor]:
        return {name: (1 - self.params.rate) * value for name, value in models.model.params.items()}
