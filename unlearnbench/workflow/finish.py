"""The end of a run: sets apart records that must not be averaged, builds the leaderboard, and draws pictures."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.records.folder import move, names_in, set_apart
from unlearnbench.records.reading import counting
from unlearnbench.records.schema import NewerRecordError, RecordError
from unlearnbench.running.up_to_date import leaderboard_is_current
from unlearnbench.suite.plan import Cell, Plan
from unlearnbench.system.errors import InputError, unwritable
from unlearnbench.system.printing import complain

if TYPE_CHECKING:
    from unlearnbench.running.options import RunOptions, Summary
    from unlearnbench.system.store import Store

DAMAGED = 20  # limit on record files found unusable while building; beyond it, something else is wrong


def run_to_the_end(plan: Plan, options: RunOptions) -> Summary:
    """Run a plan, then build the leaderboard, then draw pictures.

    Raises:
        InputError: as `runner.run`.
    """
    from unlearnbench.running import runner
    from unlearnbench.system.store import Store

    summary = runner.run(plan, options)
    try:
        summary.leaderboard = close(options.results, summary.plan, summary.computed)
        summary.pictures = draw(options.results, summary.plan, Store(options.cache))
    except KeyboardInterrupt:
        summary.interrupted = True
    except OSError as error:
        raise unwritable(error, options.results) from error
    return summary


def close(results: Path, plan: Plan, ran: Collection[Cell] = ()) -> bool:
    """Build the leaderboard of all records in `results`; False, with a line on stderr, if that is impossible.

    Args:
        ran: cells that this run had to compute. If there are any, the leaderboard is built again whatever the records'
            times say, because a clock may have been set back.
    """
    folder = results / "records"
    if not folder.is_dir():
        return True
    moved = set_apart(folder, plan)
    if moved.stale:
        complain(f"kept apart {moved.stale} stale records in {folder / 'stale'}")
    for name in moved.damaged:
        complain(f"moved a damaged record file to {folder / 'damaged' / name}")
    changed = bool(ran) or moved.stale > 0 or bool(moved.damaged)
    if (leaderboard_is_current(results) and not changed) or not counting(names_in(folder)):
        return True
    return _build(results, folder)


def draw(results: Path, plan: Plan, store: Store) -> bool:
    """Draw the missing galleries and curves of a plan, whichever run computed their contents.

    Returns:
        False if some could not be drawn; each is reported on stderr.
    """
    from unlearnbench.report.curves import draw_curves
    from unlearnbench.report.pictures import draw_galleries

    return None not in [*draw_galleries(plan.cells, store, results), *draw_curves(plan.cells, store, results)]


def _build(results: Path, folder: Path) -> bool:
    from unlearnbench.report.files import write_leaderboard

    for _ in range(DAMAGED):
        try:
            write_leaderboard(folder, results)
            return True
        except RecordError as error:
            damaged = Path(error.where)
            if isinstance(error, NewerRecordError) or not damaged.is_file():
                complain(f"error: no leaderboard: {error}")
                return False
            complain(f"moved a damaged record file to {move(damaged, 'damaged')} ({error.what})")
        except InputError as error:
            complain(f"error: no leaderboard: {error}")
            return False
    complain(f"error: no leaderboard: over {DAMAGED} unusable record files in {folder}")
    return False
