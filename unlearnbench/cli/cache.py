"""The verb `cache`: lists, verifies and clears the store of trained models and other results."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unlearnbench.cli import options
from unlearnbench.cli.exit_codes import FAILED, OK
from unlearnbench.system.errors import InputError, UnreadableError, unreadable
from unlearnbench.system.printing import emit, emit_json, emit_table, one_line
from unlearnbench.workflow import options as workflow

if TYPE_CHECKING:
    from unlearnbench.system.store import Store

LEFT_OVER = 3600  # seconds; a younger temporary file may belong to a run in progress
WHAT = ("stage", "dataset", "method", "attack")

app = typer.Typer(
    rich_markup_mode=None, help="Look after the store of trained models: list, verify or clear what is in it."
)


@app.command("list")
def list_artifacts(cache: options.Cache = None, output: options.Output = "text") -> int:
    """Show number, size and age of artifacts by stage and plugins, and of checkpoints of interrupted stages."""
    store = _store(cache)
    groups: dict[tuple[str, ...], list[tuple[int, float]]] = defaultdict(list)
    for key, size, changed in _artifacts(store):
        groups[_made(store, key)].append((size, changed))
    rows = [
        [*made, len(files), sum(size for size, _ in files), *_span([changed for _, changed in files])]
        for made, files in sorted(groups.items())
    ]
    every = [size for files in groups.values() for size, _ in files]
    number, size, temporary = len(every), sum(every), len(store.leftovers())
    columns = [*WHAT, "number", "bytes", "oldest", "newest"]
    kept = _checkpoints(store)
    sizes, ages = [size for _, size, _ in kept], [changed for _, _, changed in kept]
    checkpoints = {"number": len(kept), "bytes": sum(sizes)} | (_named(ages) if kept else {})
    if output == "json":
        listed = [dict(zip(columns, row, strict=True)) for row in rows]
        about = {
            "cache": str(store.root),
            "number": number,
            "bytes": size,
            "temporary": temporary,
            "checkpoints": checkpoints,
        }
        emit_json({**about, "artifacts": listed})
        return OK
    if rows:
        emit_table(columns, rows)
    emit(f"artifacts: number={number} bytes={size} temporary={temporary} in {one_line(str(store.root))}")
    if kept:
        emit("checkpoints: " + " ".join(f"{name}={value}" for name, value in checkpoints.items()))
    return OK


@app.command()
def verify(
    cache: options.Cache = None,
    output: options.Output = "text",
    delete: Annotated[bool, typer.Option("--delete", help="Delete the damaged ones.")] = False,
) -> int:
    """Check every artifact's checksum.

    Damaged ones are listed, and the exit code is 1 if there are any. The next run that needs one computes it again.
    Unreadable ones are listed, too, with exit code 1: they may be intact, so they are neither deleted nor replaced.
    """
    store = _store(cache)
    checked, damaged, unread = 0, list[dict[str, str]](), list[dict[str, str]]()
    for key, _, _ in _artifacts(store):
        path = str(store.path(key))
        try:
            what = _damage(store, key)
        except UnreadableError as error:
            unread.append({"path": path, "what": str(error)})
            continue
        checked += 1
        if what is not None:
            damaged.append({"path": path, "what": what})
            if delete:
                _delete(store.path(key))
    unread += [_special(path) for path in store.special()]
    if output == "json":
        emit_json({"cache": str(store.root), "checked": checked, "damaged": damaged, "unreadable": unread,
                   "deleted": delete})  # fmt: skip
    else:
        for found, each in [("damaged", each) for each in damaged] + [("unreadable", each) for each in unread]:
            emit(one_line(f"{found}: {each['what']}"))
        counts = f"checked={checked} damaged={len(damaged)} unreadable={len(unread)}"
        deleted = len(damaged) if delete else 0
        emit(f"artifacts: {counts} deleted={deleted} in {one_line(str(store.root))}")
    return FAILED if damaged or unread else OK


@app.command()
def clear(
    cache: options.Cache = None,
    older: Annotated[
        float | None,
        typer.Option("--older-than", min=0, metavar="DAYS", help="Only those written more than this many days ago."),
    ] = None,
    damaged: Annotated[bool, typer.Option("--damaged", help="Only damaged artifacts.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete everything, if no other option selects.")] = False,
) -> int:
    """Delete artifacts, checkpoints of interrupted stages, and temporary files left by killed runs.

    Later runs compute what they need again. Nothing else in the folder is touched. Best used while no run is active.
    """
    store = _store(cache)
    chosen = [
        (store.path(key), size)
        for key, size, changed in _artifacts(store)
        if (older is None or changed < time.time() - 86_400 * older) and (not damaged or _is_damaged(store, key))
    ]
    size = sum(size for _, size in chosen)
    kept = [
        (key, size)
        for key, size, changed in _checkpoints(store)
        if not damaged and (older is None or changed < time.time() - 86_400 * older)
    ]
    if older is None and not damaged and not yes:
        also = f" and {len(kept)} checkpoints ({sum(size for _, size in kept)} bytes)" if kept else ""
        what = f"would delete all {len(chosen)} artifacts ({size} bytes){also}; say --yes, or choose some"
        raise InputError(str(store.root), f"{what} by --older-than or --damaged")
    left = [path for path in store.leftovers() if _changed(path) < time.time() - LEFT_OVER]
    for path in [*(path for path, _ in chosen), *left]:
        _delete(path)
    for key, _ in kept:
        store.discard_checkpoints(key)
    emit(f"artifacts: deleted={len(chosen)} bytes={size} temporary={len(left)} in {one_line(str(store.root))}")
    if kept:
        emit(f"checkpoints: deleted={len(kept)} bytes={sum(size for _, size in kept)}")
    return OK


def _store(cache: Path | None) -> Store:
    root = workflow.cache_root(cache)
    if not root.is_dir():
        raise InputError(str(root), "not a folder" if root.exists() else "no such folder")
    from unlearnbench.system.store import Store

    return Store(root)


def _artifacts(store: Store) -> Iterator[tuple[str, int, float]]:
    """Each artifact's key, its size in bytes and when it was written."""
    try:
        keys = store.keys()
    except OSError as error:
        raise unreadable(error, error.filename or store.root) from error
    for key in keys:
        try:
            found = store.path(key).stat()
        except FileNotFoundError:  # deleted in the meantime
            continue
        yield key, found.st_size, found.st_mtime


def _checkpoints(store: Store) -> list[tuple[str, int, float]]:
    """Of each artifact that is being computed, or was interrupted: its key, the bytes kept, and when the last were
    written."""
    found = []
    try:
        for key in store.interrupted():
            files = [path.stat() for path in store.checkpoints(key).root.rglob("*") if path.is_file()]
            changed = max((file.st_mtime for file in files), default=0.0)
            found.append((key, sum(file.st_size for file in files), changed))
    except FileNotFoundError:  # finished in the meantime
        return _checkpoints(store)
    except OSError as error:
        raise unreadable(error, error.filename or store.root) from error
    return found


def _named(ages: Sequence[float]) -> dict[str, str]:
    return dict(zip(("oldest", "newest"), _span(ages), strict=True))


def _made(store: Store, key: str) -> tuple[str, ...]:
    """The stage and plugins behind an artifact; artifacts of older versions do not hold them."""
    from unlearnbench.system.store import CorruptArtifactError

    try:
        values: dict[str, Any] = store.values(key)
    except CorruptArtifactError:
        return ("damaged", *("-" for _ in WHAT[1:]))
    except UnreadableError:
        return ("unreadable", *("-" for _ in WHAT[1:]))
    made = values.get("provenance")
    return tuple(str(made.get(name, "-")) if isinstance(made, dict) else "-" for name in WHAT)


def _damage(store: Store, key: str) -> str | None:
    """What is wrong with an artifact. Raises UnreadableError if it can't be read."""
    from unlearnbench.system.store import CorruptArtifactError

    try:
        store.get(key)
    except CorruptArtifactError as error:
        return str(error)
    return None


def _is_damaged(store: Store, key: str) -> bool:
    """Whether an artifact is known to be damaged; one that can't be read is not."""
    try:
        return _damage(store, key) is not None
    except UnreadableError:
        return False


def _special(path: Path) -> dict[str, str]:
    """A report on something with an artifact's name that is not a regular file."""
    what = "a link" if path.is_symlink() else "no ordinary file"
    return {"path": str(path), "what": f"{path}: {what}"}


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(str(path), f"can't be deleted: {error.strerror}") from error


def _span(changed: Sequence[float]) -> tuple[str, str]:
    """The earliest and the latest time."""
    first, last = (
        datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds") for when in (min(changed), max(changed))
    )
    return first, last
