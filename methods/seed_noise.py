"""The null of retraining: nothing is erased, and the server trains again all the same."""

from unlearnbench.plugin import Context, ErasureSets, Method, Stack


class SeedNoise(Method):
    """The shared training code on ALL of the data, erased images included, from a fresh seed.

    Its difference to the original is seed noise alone (PROTOCOL section 11, rule 5): an attack that finds more in
    retraining finds what was erased, and one that finds anything here is broken.
    """

    paper = "reference"
    reference = True

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.train(ErasureSets(sets.pool, sets.members, sets.erased[:, :0], sets.holdout))
