"""The verb `run`: a suite's cells are computed, recorded, and joined in a leaderboard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unlearnbench.cli import computing, exit_codes, loading, options
from unlearnbench.cli.computing import ComputingOptions
from unlearnbench.cli.loading import SelectionOptions
from unlearnbench.cli.option_groups import grouped
from unlearnbench.system.roots import root

if TYPE_CHECKING:
    from unlearnbench.run.up_to_date import Request


@grouped
def run(suite: options.SuitePath, chosen: SelectionOptions, how: ComputingOptions) -> int:
    """Run a suite.

    What was computed before is not computed again; after an interruption, run it again to go on. A section 'tune' of
    an experiment is ignored, unless it draws or screens settings: then the experiment is for 'tune' only.
    """
    # torch, pandas and pyarrow are imported once there is something to do.
    from unlearnbench.run import up_to_date

    path, resolved = root(suite), how.resolve()

    def asked() -> Request | None:
        named = None if how.results is None else resolved.results
        data, plugins = resolved.data_root, resolved.plugin_dirs
        return up_to_date.request(path, chosen.texts, data, plugins, named, resolved.results)

    before = asked()
    if before is not None and not (how.force or how.retry_failed) and (known := up_to_date.find(before)) is not None:
        planned, skipped = known
        computing.show_counts(Counter(planned=planned, cached=planned - skipped, skipped=skipped))
        return exit_codes.OK
    loaded = loading.load(path, resolved.plugin_dirs)
    settings = loaded.settings(chosen.selection)
    from unlearnbench.suite import tune_section

    tune_section.refuse_partial(loaded, settings)
    plan = loading.plan(settings, resolved.data_root, how.device)
    computing.tell_of_plugins(loaded, resolved.plugin_dirs)
    from unlearnbench.cli.finish import run_to_the_end

    summary = run_to_the_end(plan, how.resolve_for(loaded, resolved))
    computing.show_counts(computing.counts_of([summary]))
    code = computing.exit_code([summary])
    # What is broken is told every time, and what could not be drawn is tried every time.
    if code == exit_codes.OK and before is not None and not loaded.registry.broken and summary.pictures:
        up_to_date.keep(before, asked(), summary.plan)
    return code
