"""Which Parquet files make up the training and test split, and whether each is there exactly once."""

from __future__ import annotations

import filecmp
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from unlearnbench.datasets._left_out import SYSTEM, LeftOut, is_system
from unlearnbench.system.errors import InputError

# Names by `datasets` and the Hub: train-00000-of-00003.parquet, possibly followed by a hash.
_SHARD = re.compile(r"(?P<stem>.*?)[-_.](?P<number>\d+)-of-(?P<count>\d+)(?P<rest>.*)", re.DOTALL)
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d+)", re.DOTALL)


class SplitFiles(NamedTuple):
    """The files of both splits, sorted by name, and what else is in their folder."""

    train: list[Path]
    test: list[Path]
    left_out: list[LeftOut]


def is_parquet(path: Path) -> bool:
    """Whether a file has the name of a Parquet file."""
    return path.suffix.lower() == ".parquet"


def split_files(folder: Path) -> SplitFiles:
    """The files of the training and of the test split: train*.parquet and test*.parquet.

    Raises:
        InputError: shards of a split are missing or duplicated.
    """
    found = SplitFiles([], [], [])
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_system(path):
            found.left_out.append(LeftOut(path, SYSTEM))
        elif is_parquet(path) and path.name.lower().startswith("train"):
            found.train.append(path)
        elif is_parquet(path) and path.name.lower().startswith("test"):
            found.test.append(path)
        else:
            found.left_out.append(LeftOut(path, "neither train*.parquet nor test*.parquet"))
    for files in (found.train, found.test):
        check_shards(files)
    return found


def check_shards(files: Sequence[Path]) -> None:
    """Raise InputError unless the names of a split's files show each of them exactly once."""
    shards = {path: match for path in files if (match := _SHARD.fullmatch(path.stem))}
    sets: dict[str, dict[Path, re.Match[str]]] = defaultdict(dict)
    for path, match in shards.items():
        sets[match["stem"]][path] = match
    for some in sets.values():
        _check_set(some)
    others = [path for path in files if path not in shards]
    if shards and others:
        shard = next(iter(shards))
        raise _error(
            others[0], f"lies beside shards ({shard.name}), and would be read as well; keep the one or the other"
        )
    _refuse_gaps(others)


def refuse_same_content(files: Sequence[Path]) -> None:
    """Raise InputError if two files are the same, byte by byte: each of their images would be there twice."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        by_size[path.stat().st_size].append(path)
    for alike in by_size.values():
        for first, second in combinations(alike, 2):
            if filecmp.cmp(first, second, shallow=False):
                raise _error(second, f"is the same file as {first.name}: every image would be there twice; remove one")


def _check_set(shards: dict[Path, re.Match[str]]) -> None:
    """Shards 0..n-1 (or 1..n) of n."""
    (first, match), *rest = shards.items()
    seen = {int(match["number"]): first}
    for path, other in rest:
        if int(other["count"]) != int(match["count"]):
            raise _error(path, f"is of another set of shards than {first.name}; remove one set")
        number = int(other["number"])
        if number in seen:
            raise _error(path, f"is the same shard as {seen[number].name}, twice; remove one of them")
        seen[number] = path
    count = int(match["count"])
    wanted = range(1, count + 1) if 0 not in seen and count in seen else range(count)
    missing = [number for number in wanted if number not in seen]
    if missing:
        start, end = match.span("number")
        name = f"{first.stem[:start]}{missing[0]:0{end - start}d}-of-{match['count']}{first.suffix}"
        what = f"{name} is missing: {len(missing)} of {count} shards are not there; get the rest of the download"
        raise _error(first.parent, what)
    strange = [number for number in seen if number not in wanted]
    if strange:
        raise _error(seen[strange[0]], f"is not one of {count} shards; rename it")


def _refuse_gaps(files: Sequence[Path]) -> None:
    """Raise InputError if files are numbered from 0 or 1 on and one of them is missing."""
    series: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in files:
        if match := _NUMBERED.fullmatch(path.stem):
            series[match["stem"]][int(match["number"])] = path
    for numbers in series.values():
        first, last = min(numbers), max(numbers)
        missing = next((number for number in range(first, last) if number not in numbers), None)
        if first <= 1 and len(numbers) > 1 and missing is not None:
            what = f"numbers go from {first} to {last}, and {missing} is missing; get it, or number the files anew"
            raise _error(numbers[last], what)


def _error(path: Path, what: str) -> InputError:
    return InputError(str(path.absolute()), what)
