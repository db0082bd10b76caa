"""The subject's answers about a network: its models' weights and outputs, before and after a little training."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from unlearnbench.conformance.channel import Message
from unlearnbench.conformance.small_problem import TRAINING
from unlearnbench.conformance.subject import Reply, Subject, odd
from unlearnbench.models.architecture import Architecture
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Context, ErasureSets, Images, Scenario, stream
from unlearnbench.system.printing import error_line

SEEDS = (1, 2)
IMAGES, TRAINED_ON = 5, 8
SCENARIO = Scenario(
    kind="utility", erased_count=1, training=TRAINING.model_copy(update={"epochs": 2, "batch": 4}), beta=0.0
)


def facts(subject: Subject, *_: Any) -> Reply:
    return {"features": bool(subject.plugin.features), "posterior": bool(subject.plugin.posterior)}, {}


def answers(subject: Subject, question: Message, *_: Any) -> Reply:
    """What the bare network makes of a few images: the type, or type and shape of a tensor."""
    shape, classes = tuple(question["shape"]), question["classes"]

    def work() -> Any:
        network = _seeded(subject.plugin, shape, classes)
        if not isinstance(network, nn.Module):
            return network
        with torch.no_grad():
            return network.eval()(_images(shape, IMAGES))

    found = subject.run(question, work)
    if not isinstance(found, Tensor):
        return odd(found), {}
    return {"dtype": str(found.dtype).removeprefix("torch."), "shape": list(found.shape)}, {}


def network(subject: Subject, question: Message, *_: Any) -> Reply:
    """One whole run: models built, asked, copied and trained."""
    return {}, subject.run(question, lambda: _run(subject.plugin, tuple(question["shape"]), question["classes"]))


def details(subject: Subject, question: Message, *_: Any) -> Reply:
    """How models are vectorised, and tensors that no `to` would move."""
    shape, classes = tuple(question["shape"]), question["classes"]

    def work() -> tuple[tuple[bool, bool], list[str], str]:
        architecture = _architecture(subject.plugin)
        loose = [
            f"{path}.{name}".lstrip(".")
            for path, part in _seeded(subject.plugin, shape, classes).named_modules()
            for name, value in vars(part).items()
            if isinstance(value, Tensor)
        ]
        return architecture.looped(shape, classes), loose, _stays(architecture.build(shape, classes, SEEDS[0]), shape)

    looped, loose, stays = subject.run(question, work)
    return {"looped": list(looped), "loose": loose, "stays": stays}, {}


def together(subject: Subject, question: Message, *_: Any) -> Reply:
    """Parameters of models trained together, and of each trained alone."""
    shape, classes = tuple(question["shape"]), question["classes"]
    dtype = getattr(torch, question["dtype"])

    def work() -> dict[str, Tensor]:
        architecture = _architecture(subject.plugin)
        every = _trained(architecture, shape, classes, SEEDS, dtype)
        each = Stack.concatenate([_trained(architecture, shape, classes, (seed,), dtype) for seed in SEEDS])
        return {f"{where}.{n}": v for where, stack in (("all", every), ("one", each)) for n, v in stack.tensors.items()}

    return {}, subject.run(question, work)


def _stays(model: nn.Module, shape: tuple[int, int, int]) -> str:
    """What torch says of a tensor that stays on the CPU when a model is moved; empty if it says nothing of the kind.

    The device `meta` has shapes and no values: what needs values fails there for other reasons, and proves nothing.
    """
    try:
        Stack.of([model]).base.eval()(torch.empty(IMAGES, *shape, device="meta"))
    except Exception as error:
        line = error_line(error)
        return line if "device" in line and "cpu" in line and "meta" in line else ""
    return ""


def _run(plugin: Any, shape: tuple[int, int, int], classes: int) -> dict[str, Tensor]:
    architecture = _architecture(plugin)
    images = _images(shape, IMAGES)
    asked = images.clone()
    seeds = SEEDS[0], SEEDS[0], SEEDS[1]
    first, same, other = (cast(Any, architecture.build(shape, classes, seed).eval()) for seed in seeds)
    stack = Stack.of([first])
    found = {"images": images, "images_left": asked}
    for name, module in (("initial", first), ("same", same), ("other", other)):
        found |= {f"{name}.{n}": value.detach().clone() for n, value in module.named_parameters()}
    with torch.no_grad():
        found["logits"], found["alone"] = first(asked), first(asked[:1])
        other.load_state_dict(first.state_dict())
        found["restored"], found["stacked"] = other(asked), stack.module(0)(asked)
        if plugin.posterior:
            found["z"], found["scale"] = first.encode(asked)
        elif plugin.features:
            found["z"] = first.represent(asked)
        if "z" in found:
            found["classified"] = first.classify(found["z"])
    trained = _trained(architecture, shape, classes, SEEDS, torch.float32)
    return {**found, **{f"trained.{name}": value for name, value in trained.tensors.items()}}


def _trained(
    architecture: Architecture, shape: tuple[int, int, int], classes: int, seeds: tuple[int, ...], dtype: torch.dtype
) -> Stack:
    pixels = (_images(shape, TRAINED_ON) * 255).to(torch.uint8)
    rows = torch.arange(TRAINED_ON)
    pool = Images(pixels, rows % classes, rows)
    sets = ErasureSets(pool, rows.expand(len(seeds), -1), torch.empty(len(seeds), 0, dtype=torch.int64))
    return Context(SCENARIO, seeds, shape, classes, dtype=dtype, architecture=architecture).train(sets)


def _architecture(plugin: Any) -> Architecture:
    return Architecture(
        plugin.build, bool(plugin.features or plugin.posterior), bool(plugin.posterior), is_checked=False
    )


def _seeded(plugin: Any, shape: tuple[int, int, int], classes: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEEDS[0])
        return plugin.build(shape, classes)


def _images(shape: tuple[int, int, int], count: int) -> Tensor:
    return torch.from_numpy(stream(0, "images").random((count, *shape))).float()
