"""Retraining as it never happens: with the original's own random numbers, so that nothing differs but the erased."""

from unlearnbench.plugin import Context, ErasureSets, Method, Scenario, Stack
from unlearnbench.training.objectives import MaskedTrainingLoss


class RetrainPaired(Method):
    """From the original's start, in its order and with its noise, the erased images weighing nothing.

    A diagnostic worst case (PROTOCOL section 11, rule 5), no server's procedure: seed noise, which hides what
    retraining betrays, is gone. What is left of it is rounding, for kernels of another shape round otherwise, and
    training multiplies that.
    """

    paper = "reference"
    reference = True

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.training.optimiser != "adam":
            return "retrain_paired repeats training by minibatches; training.optimiser is newton"
        return None

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        everything = ErasureSets(sets.pool, sets.members, sets.erased[:, :0], sets.holdout)
        members = everything.all_remaining()
        weight = (~(members[:, :, None] == sets.erased[:, None, :]).any(2)).to(before.dtype)
        again = context.again()
        loss = MaskedTrainingLoss(again.scenario.beta, again.scenario.training)
        return again.minimise(loss, again.fresh(), everything, state=weight, training=True)
