"""What comes first: the suite, and the plan of its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.system.printing import complain

if TYPE_CHECKING:
    from unlearnbench.suite.plan import Plan
    from unlearnbench.suite.suite import CellSetting, Suite


def load(suite: Path | Mapping[str, Any], plugins: Sequence[Path] | None) -> Suite:
    """The suite, checked; reports broken plugins on stderr.

    Args:
        suite: its file, as an absolute path because plugins may change the working folder; or what such a file holds.
        plugins: folders of the user's own plugins.
    """
    from unlearnbench.registry.registry import discover
    from unlearnbench.suite.suite import load_suite, suite_of

    registry = discover(plugins or ())
    for bad in registry.broken:
        complain(f"warning: {bad.kind or 'plugin'} '{bad.name}' is broken: {bad.error} ({bad.origin})")
    return load_suite(suite, registry) if isinstance(suite, Path) else suite_of(suite, registry, "suite")


def plan(settings: Sequence[CellSetting], data_root: Path, device: str = "auto") -> Plan:
    """The cells of these settings and the tasks behind them; times are measured on the device of --device."""
    from unlearnbench.suite import plan
    from unlearnbench.system import devices

    timed = any(setting.timing is not None for setting in settings)
    # Looking for GPUs takes a second, and only the keys of timing depend on them.
    return plan.build(settings, data_root, devices.slots(device, 1)[0] if timed else "cpu")


def report_plugins(suite: Suite, folders: Sequence[Path]) -> None:
    """Say which plugins come from the user's folders: their code runs here."""
    for folder in folders:
        names = ", ".join(suite.registry.taken(folder)) or "none"
        complain(f"plugins taken from {folder}, whose code runs here: {names}")
        if unknown := suite.registry.unknown(folder):
            complain(f"warning: {folder}: not found: {', '.join(unknown)}; changes of these imports go unnoticed")
