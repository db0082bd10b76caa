"""A paper beside what was measured: its tables and figures, and its claims as checks with verdicts.

Both are data: `model` says what a claims file may hold, `reported` what a file of reported numbers may hold. `measured`
finds the per-seed values that they select from records, `printed` the paper's own in its tables, `checks` tests one
statement on either, `verdicts` judges a claim.
"""
