"""Makes single checks of a plugin that is given as text, in this process: seconds less than a process each."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from textwrap import dedent, indent

from unlearnbench.conformance.case import Place
from unlearnbench.conformance.child import verdict_of
from unlearnbench.conformance.suites import CASES, CHECKS
from unlearnbench.conformance.verdict import Result
from unlearnbench.conformance.watch import Watch
from unlearnbench.registry import Kind, discover

HEADER = '''
"""A plugin that breaks a rule."""
import os, random, socket, subprocess, sys
from pathlib import Path
import numpy as np
import torch
from pydantic import Field
from unlearnbench.plugin import *
from unlearnbench.settings import PluginParams
'''
BASES = {
    "method": ("Method", "def unlearn_many(self, before, sets, context):\n    return before.expand(sets.replicas)"),
    "attack": (
        "Attack",
        "@property\ndef access(self):\n    return Access()\n"
        "def run(self, view):\n    return Evidence(membership=view.updates().candidates_before.sum(-1))",
    ),
    "dataset": (
        "Dataset",
        "def files(self, root):\n    return [Path(__file__)]\n"
        "def load(self, root):\n    return images()",
    ),
}  # fmt: skip
IMAGES = """
def images(pixels=None, labels=None, ids=None, classes=2):
    pixels = torch.arange(40).view(10, 1, 2, 2).to(torch.uint8) if pixels is None else pixels
    labels = torch.arange(10) % 2 if labels is None else labels
    ids = torch.arange(10) if ids is None else ids
    whole = Images(pixels, labels, ids)
    return ImageData(whole.take(torch.arange(6)), whole.take(torch.arange(6, 10)), classes)
"""


def source(kind: Kind, body: str = "", doc: str = '"""Does something."""', base: str | None = None) -> str:
    """A plugin's file: the smallest working one, with `body` later in the class, over what it replaces."""
    parent, working = BASES[kind]
    parts = [doc, "version = 1", "" if base else working, dedent(body).strip()]
    inside = "\n".join(indent(part, "    ") for part in parts if part)
    return f"{HEADER.lstrip()}{IMAGES if kind == 'dataset' else ''}\nclass Odd({base or parent}):\n{inside}\n"


@functools.cache
def watch() -> Watch:
    """One a process: an audit hook stays."""
    folder = Path(tempfile.mkdtemp(prefix="watched-"))
    for name in ("scratch", "empty"):
        (folder / name).mkdir()
    return Watch(folder / "scratch", folder / "empty")


def examine(folder: Path, kind: Kind, text: str, *checks: str) -> Result:
    """Make some checks in their order; what the last of them found."""
    (folder / f"{kind}s").mkdir(exist_ok=True)
    (folder / f"{kind}s" / "odd.py").write_text(text)
    (folder / "scratch").mkdir(exist_ok=True)
    watch().deeds.clear()
    registry = discover([folder])
    info = registry.find(kind, "odd", "here")
    case = CASES[kind](
        info, info.cls.Params(), Place(registry, folder / "scratch", folder / "data", (folder,), watch())
    )
    known = {check.name: check for check in CHECKS[kind]}
    for name in checks:
        verdict = verdict_of(known[name], case)
    return Result(checks[-1], *verdict)
