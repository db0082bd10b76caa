"""unlearnbench: how much private information do machine-unlearning methods leak?"""

from unlearnbench.system.version import PROTOCOL_VERSION, __version__

__all__ = ["PROTOCOL_VERSION", "__version__"]
