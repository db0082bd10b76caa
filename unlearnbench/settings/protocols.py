"""Protocol versions: what was measured under different ones stands apart, and says so."""

from __future__ import annotations

from unlearnbench.system.version import PROTOCOL_VERSION


def measured_under(version: int) -> str:
    """What titles add to numbers of an older protocol (or a newer one); empty for the current one."""
    return "" if version == PROTOCOL_VERSION else f"measured under protocol {version}"


def titled(text: str, version: int) -> str:
    """A title, with the protocol where it is not the current one."""
    return ", ".join(filter(None, (text, measured_under(version))))
