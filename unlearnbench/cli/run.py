"""The verb `run`: computes and records a suite's cells, and builds the leaderboard."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from unlearnbench.cli import computing, exit_codes, loading, options
from unlearnbench.cli.computing import ComputingOptions
from unlearnbench.cli.loading import SelectionOptions
from unlearnbench.cli.option_groups import grouped

if TYPE_CHECKING:
    from unlearnbench.running.up_to_date import Request


@grouped
def run(suite: options.SuitePath, chosen: SelectionOptions, how: ComputingOptions) -> int:
    """Run a suite.

    Finished cells are not computed again; after an interruption, run the same command to continue. An experiment's
    section 'tune' is ignored, unless it draws or screens settings: then the experiment is for 'tune' only.
    """
    # torch, pandas and pyarrow are imported only if there is something to do.
    from unlearnbench.running import up_to_date

    resolved = how.resolve()

    def asked() -> Request | None:
        named = None if how.results is None else resolved.results
        data, plugins = resolved.data_root, resolved.plugin_dirs
        return up_to_date.request(suite, chosen.texts, data, plugins, named, resolved.results)

    before = asked()
    if before is not None and not (how.force or how.retry_failed) and (known := up_to_date.find(before)) is not None:
        planned, skipped = known
        computing.show_counts(Counter(planned=planned, cached=planned - skipped, skipped=skipped))
        return exit_codes.OK
    loaded = loading.load(suite, resolved.plugin_dirs)
    settings = loaded.settings(chosen.selection)
    from unlearnbench.suite import tune_section

    tune_section.refuse_partial(loaded, settings)
    plan = loading.plan(settings, resolved.data_root, how.device)
    loading.report_plugins(loaded, resolved.plugin_dirs)
    from unlearnbench.workflow.finish import run_to_the_end

    summary = run_to_the_end(plan, how.resolve_for(loaded, resolved))
    computing.show_counts(computing.counts_of([summary]))
    code = computing.exit_code([summary])
    # Broken plugins are reported every time, and failed pictures are tried every time.
    if code == exit_codes.OK and before is not None and not loaded.registry.broken and summary.pictures:
        up_to_date.keep(before, asked(), summary.plan)
    return code
