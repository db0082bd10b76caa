"""Records to one row per contender: values, gaps, intervals, verdicts, ranks; and the choice of `tune`."""
