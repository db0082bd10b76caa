"""Exit codes: 128 + N is a process ended by signal N, and of these only Ctrl-C (130) has a name here."""

OK = 0
FAILED = 1  # some cells failed, a plugin breaks a rule, records disagree, ...: what was asked for was found wanting
BAD_INPUT = 2  # bad usage or input, or results that could not be printed or were lost
INTERRUPTED = 130
