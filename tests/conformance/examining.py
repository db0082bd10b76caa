"""Makes single checks of a plugin that is given as text, in this process: seconds less than a process each."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path
from textwrap import dedent, indent

from unlearnbench.conformance.audit_hook import AuditHook
from unlearnbench.conformance.case import Setup
from unlearnbench.conformance.channel import Message, NamedTensors, Respond
from unlearnbench.conformance.examiner import ruling_on
from unlearnbench.conformance.rulings import Result
from unlearnbench.conformance.subject import Subject
from unlearnbench.conformance.subject_host import Host, fresh
from unlearnbench.conformance.suites import CASES, RULES
from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import discover
from unlearnbench.system.descendants import descendants

HEADER = '''
"""A plugin that breaks a rule."""
import os, random, socket, subprocess, sys
from pathlib import Path
import numpy as np
import torch
from pydantic import Field
from unlearnbench.plugin import *
from unlearnbench.settings.scenario import PluginParams
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
    "model": ("Model", "def build(self, shape, classes):\n    return Net(shape, classes)"),
}  # fmt: skip
IMAGES = """
def images(pixels=None, labels=None, ids=None, classes=2):
    pixels = torch.arange(40).view(10, 1, 2, 2).to(torch.uint8) if pixels is None else pixels
    labels = torch.arange(10) % 2 if labels is None else labels
    ids = torch.arange(10) if ids is None else ids
    whole = Images(pixels, labels, ids)
    return ImageData(whole.take(torch.arange(6)), whole.take(torch.arange(6, 10)), classes)
"""


NETWORK = """
class Net(torch.nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = torch.nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, images):
        return self.layer(images.flatten(1))

"""


def source(kind: Kind, body: str = "", doc: str = '"""Does something."""', base: str | None = None) -> str:
    """A plugin's file: the smallest working one, with `body` later in the class, over what it replaces."""
    parent, working = BASES[kind]
    parts = [doc, "version = 1", "" if base else working, dedent(body).strip()]
    inside = "\n".join(indent(part, "    ") for part in parts if part)
    given = {"dataset": IMAGES, "model": NETWORK}.get(kind, "")
    return f"{HEADER.lstrip()}{given}\nclass Odd({base or parent}):\n{inside}\n"


@functools.cache
def watch() -> AuditHook:
    """One a process: an audit hook stays."""
    return AuditHook(Path(tempfile.mkdtemp(prefix="watched-")))


class Local:
    """A subject in this process: what it is asked and answers are copies, as if they had been sent."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def __call__(
        self, question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
    ) -> tuple[Message, NamedTensors]:
        def responded(told: Message, given: NamedTensors) -> tuple[Message, NamedTensors]:
            assert respond is not None
            answer, found = respond(told, _copied(given))
            return answer, _copied(found)

        told, found = self.subject.answer(question, _copied(tensors or {}), responded)
        return json.loads(json.dumps(told)), _copied(found)


class Elsewhere:
    """One in a process of its own, started when it is asked."""

    def __init__(self, folder: Path, request: Message) -> None:
        self.folder, self.request = folder, request
        self.host: Host | None = None
        self.others: list[int] = []

    def __call__(
        self, question: Message, tensors: NamedTensors | None = None, respond: Respond | None = None
    ) -> tuple[Message, NamedTensors]:
        if self.host is None:
            self.others = descendants(os.getpid())
            self.host = fresh(self.folder)
            self.host.show()
            self.host.channel.restart(120)
            self.host.channel.ask(self.request)
            self.host.channel.ask({"ask": "make"})
        return self.host.channel.ask(question, tensors, respond)

    def end(self) -> None:
        if self.host is not None:
            self.host.kill(self.others)


def examine(folder: Path, kind: Kind, text: str, *checks: str) -> Result:
    """Make some checks in their order; what the last of them found."""
    (folder / f"{kind}s").mkdir(exist_ok=True)
    (folder / f"{kind}s" / "odd.py").write_text(text)
    for name in ("scratch", "empty", "judged"):
        (folder / name).mkdir(exist_ok=True)
    watch().attempts.clear()
    request = {"ask": "find", "text": "odd", "kind": kind, "plugin_dirs": [str(folder)],
               "scratch": str(folder / "scratch"), "data_root": str(folder / "data")}  # fmt: skip
    subject, other = Local(Subject(watch())), Elsewhere(folder, request)
    found, _ = subject(request)
    subject({"ask": "make"})
    setup = Setup(discover(), folder / "judged", folder / "data")
    case = CASES[kind](found["origin"], setup, subject, other, folder)
    known = {rule.name: rule for rule in RULES[kind]}
    try:
        for name in checks:
            verdict = ruling_on(known[name], case)
    finally:
        other.end()
    return Result(checks[-1], *verdict)


def _copied(tensors: NamedTensors) -> NamedTensors:
    return {name: value.detach().clone() for name, value in tensors.items()}
