"""Suites, and what papers claim of them: YAML files, which the installed package finds by name."""
