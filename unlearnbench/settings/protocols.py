"""Protocol versions: numbers measured under different ones are kept apart, and labelled."""

from __future__ import annotations

from unlearnbench.system.version import PROTOCOL_VERSION


def measured_under(version: int) -> str:
    """What titles say about numbers of an older (or newer) protocol; empty for the current one."""
    return "" if version == PROTOCOL_VERSION else f"measured under protocol {version}"


def titled(text: str, version: int) -> str:
    """A title, with the protocol if it is not the current one."""
    return ", ".join(filter(None, (text, measured_under(version))))
