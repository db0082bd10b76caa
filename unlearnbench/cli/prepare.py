"""The verb prepare: fetches a suite's data, and says what it was read as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unlearnbench.suite.plugin_answers import Inquiry, PluginFaultError
from unlearnbench.system.errors import InputError
from unlearnbench.system.printing import emit, emit_folded, error_line

if TYPE_CHECKING:
    from unlearnbench.suite.suite import Selection, Suite


def prepare(suite: Suite, selection: Selection, root: Path) -> int:
    """Fetch, load and describe every dataset; returns the exit code.

    Raises:
        InputError: data that can't be fetched or read, or class names in the suite that a dataset does not have.
    """
    from unlearnbench.run.data_report import describe
    from unlearnbench.suite.class_names import numbered
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import ProcessStateError, guarded

    settings = suite.settings(selection)
    for choice in {setting.dataset.id: setting.dataset for setting in settings}.values():
        definitions = None if choice.info.is_released else Definitions()
        try:
            with guarded(f"dataset {choice.info.name}", definitions, random=True):
                source = cast(Any, choice.info.cls(choice.params))
                source.prepare(root)
                report = describe(choice.id, source, source.load(root), root, Inquiry(root).class_names(choice))
                del source  # with whatever it does in its end
        except (OSError, RuntimeError, ProcessStateError) as error:  # no network, no space, a damaged archive
            raise InputError(choice.id, f"can't be prepared in {root}: {error_line(error)}") from error
        except PluginFaultError as fault:  # what it says of its classes is no list of names
            raise InputError(choice.id, str(fault)) from fault
        emit(report.head)
        for line in report.more:
            emit_folded(f"  {line}", "    ")
    numbered(settings, root)
    return 0
