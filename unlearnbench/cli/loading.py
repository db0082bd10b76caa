"""What verbs load first: the suite, the selected part of it, and the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnbench.cli import completion, options
from unlearnbench.workflow.loading import load, plan, report_plugins

if TYPE_CHECKING:
    from unlearnbench.suite.selection import Selection

__all__ = ["SelectionOptions", "load", "plan", "report_plugins"]


def _some(long: str, short: str, complete: Callable[..., list[str]], what: str, metavar: str = options.FILTER) -> Any:
    """An option that names a part of a suite."""
    return typer.Option(long, short, metavar=metavar, autocompletion=complete, help=f"{what} Repeats.")


@dataclass(frozen=True)
class SelectionOptions:
    """The options that select parts of a suite, as given; None selects everything."""

    experiment: Annotated[
        list[str] | None, _some("--experiment", "-e", completion.experiments, "Only this experiment.", "NAME")
    ] = None
    method: Annotated[
        list[str] | None, _some("--method", "-m", completion.methods, "Only this method, plus original and retrain.")
    ] = None
    attack: Annotated[list[str] | None, _some("--attack", "-a", completion.attacks, "Only this attack.")] = None
    dataset: Annotated[list[str] | None, _some("--dataset", "-d", completion.datasets, "Only this dataset.")] = None
    network: Annotated[list[str] | None, _some("--network", "-n", completion.networks, "Only this network.")] = None
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, max=1_000, metavar="N", help="Repetitions 0 to N-1, instead of the suite's."),
    ] = None
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a scenario key, e.g. beta=0 or stop.steps=5. Repeats."),
    ] = None

    @property
    def selection(self) -> Selection:
        """The same selection for a suite."""
        from unlearnbench.suite.selection import Selection

        return Selection(
            experiments=tuple(self.experiment or ()),
            methods=tuple(self.method or ()),
            attacks=tuple(self.attack or ()),
            datasets=tuple(self.dataset or ()),
            networks=tuple(self.network or ()),
            seeds=self.seeds,
            overrides=tuple(self.override or ()),
        )

    @property
    def texts(self) -> dict[str, Any]:
        """The options by name, for receipts."""
        return {
            "e": self.experiment,
            "m": self.method,
            "a": self.attack,
            "d": self.dataset,
            "n": self.network,
            "seeds": self.seeds,
            "set": self.override,
        }
