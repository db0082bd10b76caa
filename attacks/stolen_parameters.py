"""Which settings were used: the weights of the training loss, and the number of steps of the erasure."""

import numpy as np
from pydantic import Field

from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Measured, PluginParams, Scenario
from unlearnbench.training.divergences import Reduction
from unlearnbench.training.stationarity import gradients, penalty_weights


class StolenParameters(Attack):
    """Hyperparameters read from the weights before and after (Wang and Gong, 2018).

    The threat model gives the adversary all settings; this measures how far she could do without. `beta` and `l2` are
    the weights with which the gradients of the loss on members that she knows and of its penalties cancel in the
    original: exact at an optimum on all its images, biased away from it. An Adam step moves no weight by more than its
    learning rate, and one whose gradient keeps its sign by that much: the largest change in learning rates, rounded,
    is the number of steps. It infers nothing about erased images and ranks no method.
    """

    paper = "Wang and Gong: Stealing Hyperparameters in Machine Learning, IEEE S&P 2018"
    ranks_by = ()

    class Params(PluginParams):
        draws: int = Field(32, ge=1, description="draws z ~ p(Z|X) that the loss on known members is averaged over")
        kl_reduction: Reduction = Field("mean", description="of the KL in training, which she takes from the code")
        lr: float = Field(1e-3, gt=0, description="the erasure's learning rate, which she takes from the code")

    @property
    def access(self) -> Access:
        return Access(level="parameters", members=True)

    def skip(self, scenario: Scenario) -> str | None:
        return None if scenario.kind == "leak" else "the steps of erasures are read in a leak experiment"

    def run(self, view: AttackView) -> Evidence:
        images, membership = view.known()
        members = images.take(membership.nonzero().flatten())
        loss, penalties = gradients(
            view.models("before"), members.scaled, members.labels, self.params.draws, self.params.kl_reduction,
            view.torch_seed("draws"),
        )  # fmt: skip
        weights = penalty_weights(loss, penalties)
        changes = view.updates().parameter_changes.values()
        largest = np.max([change.abs().flatten(1).max(1).values.numpy() for change in changes], axis=0)
        steps = np.rint(largest / self.params.lr)
        found = {f"stolen_{name}": Measured(value, len(members)) for name, value in weights.items()}
        return Evidence(metrics=found | {"stolen_steps": Measured(float(steps.mean()), len(steps))})
