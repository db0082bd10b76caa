"""The verb `prepare`: fetches a suite's data and describes it."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from unlearnbench.cli import loading, options
from unlearnbench.cli.exit_codes import OK
from unlearnbench.cli.loading import SelectionOptions
from unlearnbench.cli.option_groups import grouped
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import emit, emit_folded, error_line
from unlearnbench.workflow import options as workflow


@partial(grouped, without=("experiment", "method", "attack", "seeds", "override"))
def prepare(
    suite: options.SuitePath, chosen: SelectionOptions, data: options.Data = None, plugins: options.Plugins = None
) -> int:
    """Fetch and check a suite's data.

    Shows what was read and what was left out, how images were decoded, the numbers of the classes, and which images
    occur more than once. May download; no other verb does.
    """
    loaded, data_root = loading.load(suite, plugins), workflow.data_root(data)
    from unlearnbench.running.data_report import describe
    from unlearnbench.suite.class_names import numbered
    from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import ProcessStateError, guarded

    settings = loaded.settings(chosen.selection)
    for choice in {setting.dataset.id: setting.dataset for setting in settings}.values():
        definitions = None if choice.info.is_released else Definitions()
        try:
            with guarded(f"dataset {choice.info.name}", definitions, random=True):
                source = cast(Any, choice.info.cls(choice.params))
                source.prepare(data_root)
                images, names = source.load(data_root), Inquiry(data_root).class_names(choice)
                report = describe(choice.id, source, images, data_root, names)
                del source  # including its destructor
        except (OSError, RuntimeError, ProcessStateError) as error:  # no network, no space, a damaged archive
            raise InputError(choice.id, f"can't be prepared in {data_root}: {error_line(error)}") from error
        except PluginFaultError as fault:  # its class names are not a list of names
            raise InputError(choice.id, str(fault)) from fault
        emit(report.head)
        for line in report.more:
            emit_folded(f"  {line}", "    ")
    numbered(settings, data_root)
    return OK
