"""What verbs read before they do anything: the suite, the part of it that was asked for, the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.cli import options
from unlearnbench.system.printing import complain
from unlearnbench.system.roots import root

if TYPE_CHECKING:
    from unlearnbench.suite.plan import Plan
    from unlearnbench.suite.suite import Selection, Setting, Suite


@dataclass(frozen=True)
class Chosen:
    """The options that pick parts of a suite, as given; None is everything."""

    experiments: list[str] | None = None
    methods: list[str] | None = None
    attacks: list[str] | None = None
    datasets: list[str] | None = None
    seeds: int | None = None
    overrides: list[str] | None = None

    @property
    def selection(self) -> Selection:
        """What the suite makes of them."""
        from unlearnbench.suite.suite import Selection

        return Selection(
            experiments=tuple(self.experiments or ()),
            methods=tuple(self.methods or ()),
            attacks=tuple(self.attacks or ()),
            datasets=tuple(self.datasets or ()),
            seeds=self.seeds,
            overrides=tuple(self.overrides or ()),
        )

    @property
    def texts(self) -> dict[str, Any]:
        """By the options' names, for receipts."""
        return {
            "e": self.experiments,
            "m": self.methods,
            "a": self.attacks,
            "d": self.datasets,
            "seeds": self.seeds,
            "set": self.overrides,
        }


def load(suite: Path, plugins: Sequence[Path] | None) -> Suite:
    """The suite, checked; broken plugins are told on stderr."""
    from unlearnbench.registry.registry import discover
    from unlearnbench.suite.suite import load_suite

    suite = root(suite)  # before plugins, which are code, are loaded
    registry = discover(plugins or ())
    for bad in registry.broken:
        complain(f"warning: {bad.kind or 'plugin'} '{bad.name}' is broken: {bad.error} ({bad.origin})")
    return load_suite(suite, registry)


def plan(settings: Sequence[Setting], data: Path | None, device: str = "auto") -> Plan:
    """The cells of these settings and the tasks behind them; where times are measured, on what --device says."""
    from unlearnbench.suite import plan
    from unlearnbench.system import devices

    timed = any(setting.timing is not None for setting in settings)
    # To look for GPUs takes a second, and no other key depends on them.
    return plan.build(settings, options.data_root(data), devices.slots(device, 1)[0] if timed else "cpu")
