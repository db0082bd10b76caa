"""Exit codes. A command ended by signal N has 128 + N; only Ctrl-C (130) has a name here."""

OK = 0
FAILED = 1  # some cells failed, a plugin breaks a rule, records disagree, ...
BAD_INPUT = 2  # bad usage or input, or results that could not be printed, or records that are gone
INTERRUPTED = 130
