"""The verbs that compute: run and tune. torch, pandas and pyarrow are imported once there is something to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.cli import loading as cli_loading
from unlearnbench.cli import options
from unlearnbench.system import devices
from unlearnbench.system.errors import InputError, unwritable
from unlearnbench.system.printing import complain, emit, emit_table
from unlearnbench.system.roots import root

if TYPE_CHECKING:
    from unlearnbench.leaderboard.tuning_choice import Pick, Trial
    from unlearnbench.run import up_to_date as receipt
    from unlearnbench.run.engines import EngineName
    from unlearnbench.run.options import Summary
    from unlearnbench.suite.plan import Cell, Plan
    from unlearnbench.suite.suite import Suite

OK, FAILED, LOST, INTERRUPTED = 0, 1, 2, 130
COUNTS = ("planned", "done", "cached", "failed", "skipped")


@dataclass(frozen=True)
class How:
    """How to compute, and where things lie; see the options. Paths become absolute.

    Attributes:
        default: the folder of results, where none is named.
    """

    engine: options.Engine | None
    jobs: int | None
    scheduler: str | None
    device: str
    cells_per_device: int
    time_limit: float | None
    data: Path | None
    results: Path | None
    cache: Path | None
    plugins: list[Path] | None
    force: bool
    retry_failed: bool
    fail_fast: bool
    verbose: bool
    default: Path = Path("results")

    def __post_init__(self) -> None:
        made = {
            "data": options.data_root(self.data),
            "cache": options.cache_root(self.cache),
            "results": None if self.results is None else root(self.results),
            "plugins": [root(folder) for folder in self.plugins or ()],
            "default": root(self.default) if self.results is None else self.default.absolute(),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def workers(self) -> tuple[EngineName, int]:
        """The engine and its number of workers. Raises InputError for those, or a device, that can't be."""
        wanted = devices.parse(self.device)
        if self.scheduler is not None and wanted not in ("auto", "cpu"):
            raise InputError("--device", "with --scheduler, CUDA_VISIBLE_DEVICES gives each worker its GPU; use auto")
        if self.scheduler is not None and self.cells_per_device > 1:
            raise InputError("--cells-per-device", "with --scheduler, start as many workers on each GPU")
        return options.engine_and_jobs(self.engine, self.jobs, self.scheduler)

    def folder(self, suite: Suite) -> Path:
        """Where results go."""
        return self.results if self.results is not None else self.default / suite.name


@dataclass(frozen=True)
class Request:
    """What run or tune was asked for."""

    suite: Path
    chosen: cli_loading.Chosen
    how: How

    def __post_init__(self) -> None:
        object.__setattr__(self, "suite", root(self.suite))


def run(request: Request) -> int:
    """Complete a suite's cells; ends with the line of counts and returns the exit code."""
    from unlearnbench.run import up_to_date as receipt

    how = request.how
    how.workers()

    def asked() -> receipt.Request | None:
        data, plugins = options.data_root(how.data), how.plugins or ()
        return receipt.request(request.suite, request.chosen.texts, data, plugins, how.results, how.default)

    before = asked()
    if before is not None and not (how.force or how.retry_failed) and (known := receipt.find(before)) is not None:
        planned, skipped = known
        _close(Counter(planned=planned, cached=planned - skipped, skipped=skipped))
        return OK
    suite = cli_loading.load(request.suite, how.plugins)
    settings = suite.settings(request.chosen.selection)
    from unlearnbench.suite import tune_section as search

    search.refuse_partial(suite, settings)
    plan = cli_loading.plan(settings, how.data, how.device)
    _tell_of_plugins(suite, how)
    summary = _compute(plan, suite, how)
    _close(_counts([summary]))
    code = _code([summary])
    # What is broken is told every time, and what could not be drawn is tried every time.
    if code == OK and before is not None and not suite.registry.broken and summary.pictures:
        receipt.keep(before, asked(), summary.plan)
    return code


def tune(request: Request) -> int:
    """Run the settings of a suite's tuned experiments in one or two rounds, choose, and write the choice down.

    Raises:
        InputError: as `run`, or where there is nothing to tune.
    """
    how = request.how
    how.workers()
    suite = cli_loading.load(request.suite, how.plugins)
    from unlearnbench.leaderboard import tuning_choice as tuning
    from unlearnbench.suite import tune_section as search
    from unlearnbench.suite.class_names import numbered

    selection = search.tuned_only(suite, request.chosen.selection)
    first, every = (
        numbered(suite.settings(selection, screening=screening), options.data_root(how.data))
        for screening in (True, False)
    )
    rules = search.rules(suite, dict.fromkeys(setting.experiment for setting in every))
    plan = cli_loading.plan(first, how.data, how.device)
    _tell_of_plugins(suite, how)
    summaries = [_compute(plan, suite, how)]
    if not _ended(summaries, how):
        finalists = tuning.finalists(_trials(_cells(summaries), how.folder(suite)), rules)
        rest = search.second_round(every, first, finalists)
        if rest:
            plan = cli_loading.plan(rest, how.data, how.device)
            summaries.append(_compute(plan, suite, how))
    if not summaries[-1].interrupted:
        seeds = len({setting.seed for setting in every})
        _choose(tuning.picks(_trials(_cells(summaries), how.folder(suite)), rules, seeds), suite, how.folder(suite))
    _close(_counts(summaries))
    return _code(summaries)


def _tell_of_plugins(suite: Suite, how: How) -> None:
    """Plugins from folders of the user's own are code that runs here."""
    for folder in how.plugins or ():
        names = ", ".join(suite.registry.taken(folder)) or "none"
        complain(f"plugins taken from {folder}, whose code runs here: {names}")
        if unknown := suite.registry.unknown(folder):
            complain(f"warning: {folder}: not found: {', '.join(unknown)}; changes of these imports go unnoticed")


def _ended(summaries: Sequence[Summary], how: How) -> bool:
    return any(summary.interrupted or (how.fail_fast and summary.failed) for summary in summaries)


def _compute(plan: Plan, suite: Suite, how: How) -> Summary:
    from unlearnbench.cli.finish import run_to_the_end
    from unlearnbench.run.options import RunOptions

    engine, jobs = how.workers()
    return run_to_the_end(
        plan,
        RunOptions(
            data_root=options.data_root(how.data),
            results=how.folder(suite),
            cache=options.cache_root(how.cache),
            engine=engine,
            jobs=jobs,
            device=how.device,
            plugin_dirs=tuple(how.plugins or ()),
            force=how.force,
            retry_failed=how.retry_failed,
            fail_fast=how.fail_fast,
            verbose=how.verbose,
            scheduler=how.scheduler,
            cells_per_device=how.cells_per_device,
            time_limit=how.time_limit,
        ),
    )


def _cells(summaries: Sequence[Summary]) -> list[Cell]:
    """Every round's cells, as they were run."""
    return [cell for summary in summaries for cell in summary.plan.cells]


def _trials(cells: Sequence[Cell], results: Path) -> list[Trial]:
    """What was measured of the settings, from the cells' record files."""
    from unlearnbench.leaderboard import tuning_choice as tuning
    from unlearnbench.records import writing as records

    table, _ = records.read_folder(results / "records", ("cell_key", "metric", "step", "value", "status", "error"))
    return tuning.trials(cells, (row for row in table.to_pylist() if row["step"] is None))


def _choose(picks: Sequence[Pick], suite: Suite, results: Path) -> None:
    """Write the choices, show them on stdout, and say on stderr what a reader must know of them."""
    from unlearnbench.report import tuned

    try:
        tuned.write(results, suite, picks)
    except OSError as error:
        raise unwritable(error, results) from error
    methods = [pick for pick in picks if not pick.is_reference]
    emit_table(
        ["experiment", "dataset", "scenario", "method", "chosen", "metric", "value", "tried", "met"],
        [_line(pick, tuned.shown) for pick in methods],
    )
    for pick in methods:
        what = f"{pick.first.experiment} / {pick.first.dataset.id} / {pick.first.method.info.name}"
        if pick.reason is not None:
            complain(f"nothing chosen: {what}: {pick.reason}; see {results / 'tuned.yaml'}")
        if pick.incomplete:
            complain(f"warning: {what}: {pick.incomplete} of {len(pick.trials)} settings lack results and can't win")


def _line(pick: Pick, shown: Any) -> list[object]:
    chosen, rule, first = pick.chosen, pick.rule, pick.first
    value = "-" if chosen is None else shown(chosen.estimates[rule.metric], rule.metric)
    name = "-" if chosen is None else chosen.setting.method.id
    place = [first.experiment, first.dataset.id, first.scenario_id, first.method.info.name]
    return [*place, name, rule.metric, value, len(pick.trials), pick.met]


def _counts(summaries: Iterable[Summary]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update({name: getattr(summary, name) for name in COUNTS})
    return counts


def _close(counts: Counter[str]) -> None:
    """The one line that a run ends with."""
    emit("cells: " + " ".join(f"{name}={counts[name]}" for name in COUNTS))


def _code(summaries: Sequence[Summary]) -> int:
    if any(summary.interrupted for summary in summaries):
        return INTERRUPTED
    if any(summary.lost for summary in summaries):
        return LOST
    return FAILED if any(summary.failed or not summary.leaderboard for summary in summaries) else OK
