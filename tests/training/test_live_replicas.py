"""The replicas that still run are one value; and what an object holds is there when it has been made."""

import ast
import dataclasses
from pathlib import Path

import pytest
import torch
from small_worlds import erasures, trained, utility

from unlearnbench import training
from unlearnbench.models.stack import Stack
from unlearnbench.training.live_replicas import LiveReplicas

MODULES = sorted(Path(training.__file__).parent.glob("*.py"))


@pytest.fixture(scope="module")
def models() -> Stack:
    return trained(utility(), erasures(), [1, 2, 3])


def live(models: Stack, frozen: Stack) -> LiveReplicas:
    return LiveReplicas.all(models, frozen, models.router(training=False), torch.device("cpu"))


def test_those_that_are_kept_are_another_value(models: Stack) -> None:
    everyone = live(models, models)
    state, encoded = torch.arange(3.0), (torch.rand(3, 4, 2), torch.rand(3, 4, 2))
    everyone = dataclasses.replace(everyone, state={"weights": state}, encoded=encoded)
    kept = everyone.keep(torch.tensor([0, 2])).keep(torch.tensor([1]))
    assert len(everyone) == 3
    assert kept.places.tolist() == [2]
    assert kept.state["weights"].tolist() == [2.0]
    assert torch.equal(kept.encoded[1], encoded[1][2:])
    assert all(torch.equal(value, models.tensors[name][2:]) for name, value in kept.tensors.items())
    assert torch.equal(kept.frozen.tensors["approximator.0.bias"], models.tensors["approximator.0.bias"][2:])
    with pytest.raises(dataclasses.FrozenInstanceError):
        kept.state = None


def test_a_shared_original_stays_shared(models: Stack) -> None:
    shared = models.slice(0, 1)
    assert live(models, shared).keep(torch.tensor([2])).frozen is shared


def test_none_may_be_kept(models: Stack) -> None:
    assert len(live(models, models).keep(torch.tensor([], dtype=torch.int64))) == 0


def test_parameters_are_copies(models: Stack) -> None:
    before = models.apply(torch.clone)
    for value in live(models, models).params.values():
        value.add_(1)
    assert all(torch.equal(value, before.tensors[name]) for name, value in models.tensors.items())


def assigned(function: ast.FunctionDef) -> set[str]:
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_attribute_appears_after_an_object_has_been_made(path: Path) -> None:
    for cls in ast.walk(ast.parse(path.read_text())):
        if isinstance(cls, ast.ClassDef):
            functions = [node for node in cls.body if isinstance(node, ast.FunctionDef)]
            made = {node.target.id for node in cls.body if isinstance(node, ast.AnnAssign)}
            made = made.union(*(assigned(f) for f in functions if f.name in ("__init__", "__post_init__")))
            late = set().union(*(assigned(f) for f in functions)) - made
            assert not late, f"{path.name}: {cls.name} sets {sorted(late)} outside __init__"
