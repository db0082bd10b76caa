"""The versions of this package, and of the rules that it measures by."""

__version__ = "0.1.0"

# Part of every key: bump it when a rule of measurement changes, so that old records are kept apart.
PROTOCOL_VERSION = 2
