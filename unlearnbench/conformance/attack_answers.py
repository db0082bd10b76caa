"""What the subject answers of an attack: its view asks the examiner, who holds the models and the truth."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from unlearnbench.adversary import evidence
from unlearnbench.adversary.view import AttackView
from unlearnbench.conformance.channel import Respond, Tensors, Told
from unlearnbench.conformance.subject import Answer, Subject, odd
from unlearnbench.plugin import Access, Evidence
from unlearnbench.system.errors import AccessError


def _access(subject: Subject, *_: Any) -> Answer:
    found = subject.watched(lambda: subject.plugin.access)
    return ({"access": asdict(found)} if isinstance(found, Access) else odd(found)), {}


def _attack(subject: Subject, told: Told, _: Tensors, respond: Respond) -> Answer:
    def ask(question: str, given: Tensors) -> Tensors:
        answer, tensors = respond({"view": question}, given)
        if "refused" in answer:
            raise AccessError(answer["refused"])
        return tensors

    channels, height, width = told["shape"]
    view = AttackView(Access(**told["access"]), (channels, height, width), told["classes"], told["view_seed"], ask)
    # Libraries that use torch's global stream are seeded by the attack; the harness puts it back.
    with torch.random.fork_rng(devices=[]):
        found = subject.run(told, subject.plugin.run, view)
    if not isinstance(found, Evidence):
        return odd(found), {}
    packed, tensors = evidence.packed(evidence.checked(found, subject.info.name))
    return {"evidence": packed}, tensors


ANSWERS = {"access": _access, "attack": _attack}
