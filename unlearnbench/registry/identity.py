"""What a plugin that is not built in is made of, found without importing it: every file its results can depend on.

That is the whole --plugins folder, or the whole installed distribution, that it comes from: helpers and data files as
well as its own. Code that these import from elsewhere is part of it, too: by its version if it belongs to an installed
package, else by its files. Names and contents count; order, dates and the place of the folder do not.

Outside, only what import statements name is found. Nothing here may import torch: receipts are read without it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import re
import stat
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from unlearnbench.system.errors import InputError, unreadable
from unlearnbench.system.package_versions import IN_EVERY_KEY, version_of

MOST_BYTES, MOST_FILES = 256 * 2**20, 10_000

# Distributions by the module that is imported, for common ones: looking all of them up takes 0.3 s.
_KNOWN = {
    "PIL": "pillow", "matplotlib": "matplotlib", "pandas": "pandas", "pyarrow": "pyarrow", "scipy": "scipy",
    "sklearn": "scikit-learn", "torchvision": "torchvision",
}  # fmt: skip
_NO_NUMBERS = {"unlearnbench", "pydantic", *IN_EVERY_KEY}  # the package's own code has versions in keys
_CODE = (*importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)
_UNREAD = (".pyc", ".pyo", ".egg-info", ".dist-info", "~", ".swp", "_cache")
# Hidden files that tools write; any other hidden file may be a plugin's own.
_TOOLS = {".git", ".hg", ".svn", ".DS_Store", ".idea", ".vscode", ".ipynb_checkpoints", ".cache", ".tox", ".nox",
          ".eggs", ".hypothesis", ".benchmarks", ".coverage", ".directory", ".Trash"}  # fmt: skip
_RESULTS = {"records", "logs", "receipts", "pictures", "leaderboard.parquet", "leaderboard.md", "errors.log",
            "tuned.yaml", "tuning.parquet", "tuning.md"}  # fmt: skip
_ARTIFACT = re.compile(r"[0-9a-f]{64}\.safetensors")  # of a store
# The path before any plugin has changed it, so that an answer does not depend on which plugins were loaded before.
_SEARCHED = tuple(dict.fromkeys(Path(entry).absolute() for entry in sys.path))


@dataclass(frozen=True)
class Identity:
    """What a plugin is made of.

    Attributes:
        sha256: of the names and contents of its files, and of an entry point's value.
        content: of the files alone, which entry points of one distribution have in common.
        files, size: their number, and their bytes.
        packages: the installed packages that they import, except those in every key: their versions count as well.
        unknown: modules that they import and that were not found: changes in these go unnoticed.
        places: the files and folders that they were found in; not part of the hash.
        beside: modules that they import from their own folder.
        late: those of them that are imported inside functions, when a plugin runs.
        tops: all modules that the folder itself holds.
    """

    sha256: str
    content: str
    files: int
    size: int
    packages: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    places: tuple[Path, ...] = ()
    beside: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


def of_folder(folder: Path, left_out: Collection[str] = ()) -> Identity:
    """What the plugins of a folder are made of.

    All files count except what tools write (compiled files, repositories, caches), environments (a pyvenv.cfg), tests
    that no other file imports, and what runs leave behind (records and what belongs to them, stored artifacts).

    Args:
        left_out: the SHA-256 of files that do not belong to it.

    Raises:
        InputError: it is too large, or holds a file that can't be read.
    """
    gathered = _Gathered(str(folder), left_out)
    gathered.add_place(folder, "")
    return gathered.identity("")


def of_entry_point(point: importlib.metadata.EntryPoint) -> Identity:
    """What an installed plugin is made of: the files of its distribution.

    Where these are unknown or lie elsewhere (an editable install), the files of the package that it names count.

    Raises:
        InputError: as `of_folder`; or there is no such package.
    """
    name = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    gathered = _Gathered(name)
    files = None if point.dist is None or _editable_root(point.dist) else point.dist.files
    if point.dist is not None and files:
        for file in files:
            path = Path(str(file.locate()))
            if _is_own(file) and path.is_file():
                gathered.add_file(path, file.as_posix())
                gathered.places.add(Path(str(point.dist.locate_file(file.parts[0]))))
    else:
        top = point.module.partition(".")[0]
        for path in _places(top) or _by_spec(top):
            gathered.add_place(path, f"{top}/" if path.is_dir() else "")
    return gathered.identity(point.value)


@dataclass
class _Gathered:
    where: str
    left_out: Collection[str] = ()
    hashes: dict[str, str] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)  # modules, by the first part of their names
    late: set[str] = field(default_factory=set)  # those of functions
    said: set[str] = field(default_factory=set)  # every word of an import
    tests: dict[str, Path] = field(default_factory=dict)
    places: set[Path] = field(default_factory=set)
    size: int = 0

    def identity(self, entry: str) -> Identity:
        """The identity, with what the files import from elsewhere."""
        for name, path in self.tests.items():
            if path.stem in self.said:
                self.add_file(path, name)
        inside = {part.partition(".")[0] for name in self.hashes for part in name.split("/")}
        beside = (self.imports & inside) - sys.stdlib_module_names - _NO_NUMBERS
        packages, unknown = self._elsewhere(inside)
        tops = {name.partition("/")[0].removesuffix(".py") for name in self.hashes}
        content = _digest(self.hashes)
        return Identity(
            _digest({"entry": entry, "files": self.hashes}), content, len(self.hashes), self.size,
            tuple(sorted(packages)), tuple(sorted(unknown)), tuple(sorted(self.places)), tuple(sorted(beside)),
            tuple(sorted(beside & self.late)), tuple(sorted(tops)),
        )  # fmt: skip

    def add_place(self, place: Path, prefix: str) -> None:
        """Add a file, or all files below a folder that count."""
        self.places.add(place)
        if not place.is_dir():
            self.add_file(place, f"{prefix}{place.name}")
            return
        for name, path in _walk(place, prefix, ()):
            if _is_test(path.name):
                self.tests[name] = path
            else:
                self.add_file(path, name)

    def add_file(self, path: Path, name: str) -> None:
        try:
            self.size += path.stat().st_size
            if self.size > MOST_BYTES or len(self.hashes) >= MOST_FILES:
                limit = f"{MOST_BYTES // 2**20} MiB or {MOST_FILES:,} files"
                what = f"plugins are known by all files beside them, and these are over {limit}"
                raise InputError(self.where, f"{what}; keep plugins, and what they read, in a folder of their own")
            content = path.read_bytes()
        except OSError as error:
            raise unreadable(error, path) from error
        digest = hashlib.sha256(content).hexdigest()
        if digest in self.left_out:
            return
        self.hashes[name] = digest
        if name.endswith(".py"):
            self._note_imports(content)

    def _note_imports(self, source: bytes) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # nobody can import it either
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                self.imports |= {name.partition(".")[0] for name in names}
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(alias.name for alias in node.names)]
                self.imports |= {names[0].partition(".")[0]} if node.level == 0 else set()
            else:
                continue
            self.said |= {word for name in names for word in name.split(".")}
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in [inner for function in functions for inner in ast.walk(function)]:
            if isinstance(node, ast.Import):
                self.late |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                self.late.add((node.module or "").partition(".")[0])

    def _elsewhere(self, inside: set[str]) -> tuple[set[str], set[str]]:
        """The packages that are imported, and modules that are not found; other code is added to the files."""
        packages, unknown = set[str](), set[str]()
        done = {"", *inside, *sys.builtin_module_names, *_NO_NUMBERS}
        while waiting := sorted(self.imports - done):
            for module in waiting:
                done.add(module)
                if module in sys.stdlib_module_names and _is_pythons(module):
                    continue
                places = _places(module)
                owners = [name for name in distributions(module) if _is_of(places, name)]
                packages |= set(owners)
                for path in [] if owners else places:
                    self.add_place(path, f"import/{module}/" if path.is_dir() else "import/")
                if not (owners or places):
                    unknown.add(module)
        return packages, unknown


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _walk(folder: Path, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every file below a folder with its name relative to it; links are followed, but not in circles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        names = {entry.name for entry in listed}
        if above and names & {"CACHEDIR.TAG", "pyvenv.cfg"}:
            return
        left_out = _TOOLS | _products(names) if above else _TOOLS
        for entry in listed:
            name = entry.name
            if name in left_out or name.endswith(_UNREAD) or _ARTIFACT.fullmatch(name):
                continue
            if entry.is_dir():
                if name != "__pycache__":
                    yield from _walk(Path(entry.path), f"{prefix}{name}/", (*above, real))
            elif _is_regular(entry):
                yield f"{prefix}{name}", Path(entry.path)
    except OSError as error:
        raise unreadable(error, error.filename or folder) from error


def _is_regular(entry: os.DirEntry[str]) -> bool:
    """Whether it is an ordinary file: a pipe would block, and a link to nothing can't be read."""
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except FileNotFoundError:
        return False


def _products(names: set[str]) -> set[str]:
    """Entries of a result folder that runs write, and that change with every run; empty for other folders."""
    is_results = "records" in names and bool(names & {"logs", "leaderboard.parquet", "receipts"})
    return {name for name in names if name in _RESULTS or name.startswith("protocol_")} if is_results else set()


def _is_test(name: str) -> bool:
    return name == "conftest.py" or (name.startswith("test_") and name.endswith(".py"))


def _is_own(file: importlib.metadata.PackagePath) -> bool:
    """Whether a file of a distribution is its code or data, rather than made by the installer for this machine."""
    parts = file.parts
    made = any(part == "__pycache__" or part.endswith((".dist-info", ".egg-info")) for part in parts)
    return not made and ".." not in parts and not file.is_absolute() and file.suffix not in (".pyc", ".pyo", ".pth")


# --- code from elsewhere ---------------------------------------------------------------------------------------------


def distributions(module: str) -> list[str]:
    """The installed distributions that a module may belong to, without editable installs."""
    if module in _KNOWN:
        return [_KNOWN[module]] if version_of(_KNOWN[module]) else []
    return sorted({name for name in _by_module().get(module, ()) if name not in _editable()})


def _is_of(places: Sequence[Path], distribution: str) -> bool:
    """Whether the module that would be imported is a distribution's, not one of that name earlier on the path."""
    try:
        root = Path(str(importlib.metadata.distribution(distribution).locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        return False
    return not places or any(place.parent.resolve() == root.resolve() for place in places)


@cache
def _is_pythons(module: str) -> bool:
    """Whether a module with a name of the standard library is that one: the path may lead to another one first."""
    places = _places(module)
    return not places or any(place.is_relative_to(Path(os.__file__).parent) for place in places)


@cache
def _by_module() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


@cache
def _editable() -> dict[str, Path]:
    """The roots of editable installs, by the distribution's name."""
    roots = ((each.name, _editable_root(each)) for each in importlib.metadata.distributions())
    return {name: root for name, root in roots if root is not None}


def _editable_root(distribution: importlib.metadata.Distribution) -> Path | None:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            return None
        return Path(url2pathname(urlparse(origin["url"]).path))
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _places(module: str) -> list[Path]:
    """The file or folders of a top-level module, as they would be imported; empty if there is none."""
    roots = [place for root in _editable().values() for place in (root, root / "src")]
    for folder in (*_SEARCHED, *roots):
        if (folder / module / "__init__.py").is_file():
            return [folder / module]
        files = [path for end in _CODE if (path := folder / f"{module}{end}").is_file()]
        if files:
            return files
    return [folder / module for folder in (*_SEARCHED, *roots) if (folder / module).is_dir()]


def _by_spec(module: str) -> list[Path]:
    """Where Python finds a module now, with all changes of its path since it started."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(each) for each in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []
