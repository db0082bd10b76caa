"""Retraining from scratch: the reference of every gap."""

from unlearnbench.plugin import Context, ErasureSets, Method, Stack


class Retrain(Method):
    """The shared training code on the remaining data, from a fresh seed, as a server would do it.

    It differs from the original mostly by seed noise (docs/protocol.md#references). This makes it the reference: an
    unlearning method leaks what it reveals beyond this.
    """

    paper = "reference"
    reference = True

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return context.train(sets)
