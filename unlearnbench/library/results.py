"""Results of a suite as objects that a notebook shows: made from the records, and from nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.system.errors import InputError, StrPath, records_of, suggest
from unlearnbench.system.escaping import html, one_line

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_VERDICTS = (
    "suite", "experiment", "dataset_id", "scenario_id", "method_id", "attack_id", "tier", "observation", "verdict",
    "forgot_seeds", "judged_seeds", "utility", "beside_retrain", "rank",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Tables of results: text where it is printed, HTML in a notebook.

    Attributes:
        frame: its rows, as `Results.to_pandas` gives them.
    """

    frame: pd.DataFrame

    def __str__(self) -> str:
        from unlearnbench.report.export import export

        return export(self.frame, "table").rstrip("\n")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from unlearnbench.report.export import html_tables
        from unlearnbench.report.tables import tables

        return html_tables(tables(self.frame))


class Results:
    """What a result folder holds. It is read when it is asked for, once; `load` again after another run.

    Args:
        folder: a result folder, with a folder `records`.
    """

    def __init__(self, folder: StrPath) -> None:
        self.path = Path(folder).absolute()

    # --- tables -------------------------------------------------------------------------------------------------------

    def to_pandas(self) -> pd.DataFrame:
        """The leaderboard in wide form: one row per contender in its setting, one column per metric.

        Beside each metric stand its interval (``_low``, ``_high``), the number of seeds or images (``_n``), and its
        differences from retraining (``_gap_retrain``, with interval) and from the trivial attacker (``_gap_trivial``).
        Missing values are pd.NA. The frame is yours to change.

        Raises:
            InputError: the folder has no records, or one of them is damaged.
        """
        return self._board.copy()

    def records(self) -> pd.DataFrame:
        """The records in long form: one row per cell, metric and step, with seeds, versions and hashes.

        Raises:
            InputError: the folder has no records, or one of them is damaged.
        """
        from unlearnbench.records.reading import read_folder

        table, bad = read_folder(records_of(self.path))
        if bad:
            raise bad[0]
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def leaderboard(self, experiment: str | None = None) -> Leaderboard:
        """The tables that `unlearnbench report` prints, of one experiment or of all.

        Raises:
            InputError: there is no such experiment.
        """
        return Leaderboard(self._of(experiment))

    def verdicts(self) -> pd.DataFrame:
        """What is said of each contender: one row per method in its setting, without and under each attack.

        Columns: ``verdict`` (on forgetting), in ``forgot_seeds`` of ``judged_seeds``; ``utility`` (on accuracy);
        ``leaks``, whether a leak beyond retraining's is shown, null where there is no attack or nothing to test;
        ``beside_retrain``; ``rank``.

        Raises:
            InputError: a method that erases nothing is shown to leak, so that no finding can be trusted.
        """
        import pandas as pd

        from unlearnbench.report.findings import findings
        from unlearnbench.report.rows import rows_of

        rows = rows_of(self._board)
        leaks: dict[int, bool] = {}
        for row, found in findings(rows):
            if any(each.compared and each.p is not None for each in found):
                leaks[id(row)] = any(each.leaks for each in found)
        frame = self._board[[name for name in _VERDICTS if name in self._board]].copy()
        frame["leaks"] = pd.array([leaks.get(id(row)) for row in rows], dtype="boolean")
        return frame

    # --- pictures -----------------------------------------------------------------------------------------------------

    def plot_frontier(self, experiment: str | None = None, dataset: str | None = None) -> Figure:
        """What leaks against what is kept: the strongest attack's score over test accuracy, as on the site.

        Args:
            experiment: its name; may be left out where only one has attacks.
            dataset: as in the column ``dataset_id``; may be left out where there is only one.

        Returns:
            A matplotlib figure that pyplot does not know of; a notebook shows it, and ``savefig`` saves it.

        Raises:
            InputError: there is nothing to draw, or several figures to choose from.
        """
        from unlearnbench.site import canvas, tradeoffs
        from unlearnbench.site.rows import site_rows

        found: dict[tuple[str, ...], Any] = {}
        for name, rows in self._attacked(site_rows(self._of(experiment), self.path.name, ""), dataset).items():
            found |= {(name, place.title): sides for place, sides in tradeoffs.leaking(rows).items()}
        sides = _only(found, "experiment and dataset", "two methods with accuracy and an attack")
        with canvas.style():
            figure = tradeoffs.plotted(sides)
            figure.patch.set_alpha(1.0)
        return figure

    def plot_reconstructions(
        self, experiment: str | None = None, attack: str | None = None, dataset: str | None = None
    ) -> Figure:
        """The gallery that a run drew: erased images, and what an attack rebuilt of them from each method's models.

        Args:
            experiment: its name.
            attack: as in the column ``attack_id``.
            dataset: as in the column ``dataset_id``. Each may be left out where there is only one gallery.

        Returns:
            A matplotlib figure, as from `plot_frontier`.

        Raises:
            InputError: there is no gallery, or there are several to choose from.
        """
        from unlearnbench.report import drawing
        from unlearnbench.report.rows import rows_of
        from unlearnbench.site.galleries import galleries

        found: dict[tuple[str, ...], Any] = {}
        for name, rows in self._attacked(rows_of(self._of(experiment)), dataset).items():
            chosen = [row for row in rows if attack is None or row["attack_id"] == attack]
            for picture in galleries(chosen, self.path, ""):
                found[name, picture.title, picture.path] = picture.content
        return drawing.picture(_only(found, "experiment, attack and dataset", "a gallery of an attack that rebuilds"))

    # --- what it says of itself ---------------------------------------------------------------------------------------

    @property
    def failed(self) -> int:
        """The number of cells that failed, of all that the folder records."""
        return sum(count for status, count in self._counts.items() if status not in ("ok", "skipped", "not_run"))

    def __repr__(self) -> str:
        return f"Results({one_line(self.path)!r}): {self._summary}"

    def _repr_html_(self) -> str:
        from unlearnbench.report.export import html_tables
        from unlearnbench.report.summary import results

        return f"<p><code>{html(str(self.path))}</code>: {html(self._summary)}</p>\n{html_tables(results(self._board))}"

    @property
    def _summary(self) -> str:
        counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(self._counts.items()))
        return f"{self._counts.total()} cells: {counts}" if counts else "no cells"

    @cached_property
    def _counts(self) -> Counter[str]:
        """How many cells have each status."""
        from unlearnbench.records.reading import read_folder

        table, _ = read_folder(records_of(self.path), ("cell_key", "status"))
        keys, statuses = table.column("cell_key").to_pylist(), table.column("status").to_pylist()
        status_of: dict[str, str] = {}
        for key, status in zip(keys, statuses, strict=True):
            if status_of.get(key) in (None, "ok"):  # a cell with results may have metrics without
                status_of[key] = status
        return Counter(status_of.values())

    @cached_property
    def _board(self) -> pd.DataFrame:
        from unlearnbench.leaderboard import build

        return build.of(records_of(self.path))

    def _of(self, experiment: str | None) -> pd.DataFrame:
        if experiment is None:
            return self._board
        names = [str(name) for name in self._board["experiment"].unique()]
        if experiment not in names:
            raise InputError("experiment", f"no '{experiment}' in these results{suggest(experiment, names)}")
        return self._board[self._board["experiment"] == experiment]

    def _attacked(self, rows: Sequence[Mapping[str, Any]], dataset: str | None) -> dict[str, list[Mapping[str, Any]]]:
        """The rows under an attack, on one dataset or all, by experiment."""
        names = {str(row["dataset_id"]) for row in rows}
        if dataset is not None and dataset not in names:
            raise InputError("dataset", f"no '{dataset}' in these results{suggest(dataset, names)}")
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if row["attack"] is not None and dataset in (None, row["dataset_id"]):
                found.setdefault(str(row["experiment"]), []).append(row)
        return found


def _only(found: Mapping[tuple[str, ...], Any], choice: str, need: str) -> Any:
    """The only value, as a plot is one figure."""
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise InputError("results", f"nothing to draw: this needs {need}")
    there = "; ".join(", ".join(part for part in key[:2]) for key in found)
    raise InputError("results", one_line(f"{len(found)} figures; choose {choice}: {there}"))
