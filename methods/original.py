"""The untouched model: the score of no unlearning at all."""

from unlearnbench.plugin import Context, ErasureSets, Method, Stack


class Original(Method):
    """No unlearning: the floor of forgetting and, since before equals after, the null of every update attack."""

    paper = "reference"
    reference = True

    def unlearn_many(self, before: Stack, sets: ErasureSets, context: Context) -> Stack:
        return before.expand(sets.replicas)
