"""Retraining as it never happens in practice: with the original's random numbers, so that only the erased differ."""

from unlearnbench.plugin import Context, ErasureSets, Method, Scenario, Stack
from unlearnbench.training.objectives import MaskedTrainingLoss


class RetrainPaired(Method):
    """Training from the original's initial weights, in its order and with its noise, with weight 0 for erased images.

    A diagnostic worst case (docs/protocol.md#references), not what a server would do: without the seed noise that hides
    what retraining reveals. What remains of the noise is rounding, as kernels of other shapes round differently, and
    training amplifies it.
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
