"""The verb `tune`: runs settings in one or two rounds, and writes down the best one of each method."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.cli import computing, loading, options
from unlearnbench.cli.computing import ComputingOptions
from unlearnbench.cli.loading import SelectionOptions
from unlearnbench.cli.option_groups import grouped
from unlearnbench.system.errors import unwritable
from unlearnbench.system.printing import complain, emit_table

if TYPE_CHECKING:
    from unlearnbench.leaderboard.tuning_choice import Pick, Trial
    from unlearnbench.running.options import Summary
    from unlearnbench.suite.suite import Suite


@partial(grouped, without=("attack",))
def tune(suite: options.SuitePath, chosen: SelectionOptions, how: ComputingOptions) -> int:
    """Choose the best setting of every method.

    Runs the experiments of a suite that have a section 'tune', on validation images and never on test images, and
    writes tuned.yaml, tuning.parquet and tuning.md next to the leaderboard. They hold the choices of this call only;
    finished cells are not computed again.
    """
    resolved = how.resolve()
    loaded = loading.load(suite, resolved.plugin_dirs)
    from unlearnbench.leaderboard import tuning_choice
    from unlearnbench.suite import tune_section
    from unlearnbench.suite.class_names import numbered
    from unlearnbench.workflow.finish import run_to_the_end

    selection = tune_section.tuned_only(loaded, chosen.selection)
    first, every = (
        numbered(loaded.settings(selection, screening=screening), resolved.data_root) for screening in (True, False)
    )
    rules = tune_section.rules(loaded, dict.fromkeys(setting.experiment for setting in every))
    plan = loading.plan(first, resolved.data_root, how.device)
    loading.report_plugins(loaded, resolved.plugin_dirs)
    run_options = how.resolve_for(loaded, resolved)
    summaries = [run_to_the_end(plan, run_options)]
    if not (summaries[0].interrupted or (how.fail_fast and summaries[0].failed)):
        finalists = tuning_choice.finalists(_trials(summaries, run_options.results), rules)
        if rest := tune_section.second_round(every, first, finalists):
            plan = loading.plan(rest, resolved.data_root, how.device)
            summaries.append(run_to_the_end(plan, run_options))
    if not summaries[-1].interrupted:
        seeds = len({setting.seed for setting in every})
        picks = tuning_choice.picks(_trials(summaries, run_options.results), rules, seeds)
        _write(picks, loaded, run_options.results)
    computing.show_counts(computing.counts_of(summaries))
    return computing.exit_code(summaries)


def _trials(summaries: Sequence[Summary], results: Path) -> list[Trial]:
    """The measurements of all rounds' settings, read from the record files of their cells."""
    from unlearnbench.leaderboard import tuning_choice
    from unlearnbench.records import writing

    table, _ = writing.read_folder(results / "records", ("cell_key", "metric", "step", "value", "status", "error"))
    cells = [cell for summary in summaries for cell in summary.plan.cells]
    return tuning_choice.trials(cells, (row for row in table.to_pylist() if row["step"] is None))


def _write(picks: Sequence[Pick], suite: Suite, results: Path) -> None:
    """Write the choices, print them on stdout, and report on stderr what a reader needs to know about them."""
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
