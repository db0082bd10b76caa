"""A paper beside what was measured: its tables and figures, and its claims as checks with verdicts.

Both are data: `model` defines claims files, `reported` defines files of reported numbers. `measured` looks up the
per-seed values that a selection names in the records, `printed` looks up the paper's own numbers in its tables,
`checks` tests one statement on either, and `verdicts` judges a claim.
"""
