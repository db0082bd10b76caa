"""unlearnbench: how much private information do machine-unlearning methods leak?"""

__version__ = "0.1.0"

# Part of every key: bump it when a rule of measurement changes, so that old records are kept apart.
PROTOCOL_VERSION = 2
