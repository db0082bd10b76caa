"""The subject's answers about an attack. The attack's view asks the examiner, which holds the models and the truth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from unlearnbench.adversary import evidence
from unlearnbench.adversary.view import AttackView
from unlearnbench.conformance.channel import Message, NamedTensors, Respond
from unlearnbench.conformance.subject import Reply, Subject, odd
from unlearnbench.plugin import Access, Evidence
from unlearnbench.stages.seen_network import make
from unlearnbench.system.errors import AccessError


def access(subject: Subject, *_: Any) -> Reply:
    found = subject.watched(lambda: subject.plugin.access)
    return ({"access": asdict(found)} if isinstance(found, Access) else odd(found)), {}


def attack(subject: Subject, question: Message, _: NamedTensors, respond: Respond) -> Reply:
    def ask(about: str, given: NamedTensors) -> NamedTensors:
        answer, tensors = respond({"view": about}, given)
        if "refused" in answer:
            raise AccessError(answer["refused"])
        return tensors

    channels, height, width = question["shape"]
    shape, classes = (channels, height, width), question["classes"]
    view = AttackView(
        Access(**question["access"]), shape, classes, question["view_seed"], ask,
        lambda: make(question["network"], shape, classes, ()),
    )  # fmt: skip
    # Libraries that use torch's global stream are seeded by the attack; the harness puts it back.
    with torch.random.fork_rng(devices=[]):
        found = subject.run(question, subject.plugin.run, view)
    if not isinstance(found, Evidence):
        return odd(found), {}
    packed, tensors = evidence.packed(evidence.checked(found, subject.examined.info.name))
    return {"evidence": packed}, tensors
