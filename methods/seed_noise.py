"""The null of retraining: nothing is erased, but the server trains again."""

from unlearnbench.plugin import Context, ErasureSets, Method, Stack


class SeedNoise(Method):
    """The shared training code on ALL of the data, erased images included, from a fresh seed.

    It differs from the original by seed noise alone (docs/protocol.md#references): an attack that finds more in
    retraining finds what was erased, and an attack that finds anything here is broken.
    """

    paper = "reference"
    reference = True

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.train(ErasureSets(sets.pool, sets.members, sets.erased[:, :0], sets.holdout))
