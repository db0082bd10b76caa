"""Utility of models after unlearning: accuracies, backdoor, divergence from the prior, and whether they forgot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnbench.models.plain_network import has_posterior
from unlearnbench.models.stack import Functional, Stack
from unlearnbench.plugin import Images
from unlearnbench.settings.scenario import Scenario
from unlearnbench.splits.world import World
from unlearnbench.stages.audit import audit
from unlearnbench.stages.memory import Retrained, memory, memory_square, own_standings, standings
from unlearnbench.system.seeding import stream
from unlearnbench.training.divergences import kl_to_prior

# Leak experiments evaluate dozens of models each: this many images, a fixed choice, are enough there.
LEAK_IMAGES = 2_000
REMAINING_IMAGES = 10_000
MODELS = 32  # evaluated at a time


@dataclass(frozen=True)
class Measure:
    """A value and the number of images (or erasures) behind it."""

    value: float | None
    n: int


def evaluate(
    before: Stack, after: Stack, world: World, scenario: Scenario, retrained: Retrained | None
) -> dict[str, Measure]:
    """Metrics of K models, one per target, averaged over them; `before` is the original.

    Args:
        retrained: what retrained models say about the erased images; None if none were trained.
    """
    leak = scenario.kind == "leak"
    test = _test_images(world, scenario)
    remaining = remaining_images(world, LEAK_IMAGES if leak else REMAINING_IMAGES)
    measures = {
        "accuracy": _accuracy(after, test),
        "remaining_accuracy": _accuracy(after, remaining),
    }
    if has_posterior(after.base):
        measures["kld_to_prior"] = _divergence(after, test)
    measures["erased_accuracy"] = _erased_accuracy(after, world)
    if retrained is not None:
        measures |= _memory(before, after, world, retrained)
        measures["retrained_accuracy"] = Measure(float(retrained.accuracy.mean()), len(test))
    if scenario.backdoor is not None:
        measures |= _backdoor(after, world, scenario)
        erased = measures["backdoor_accuracy"] = measures["erased_accuracy"]
        assert erased.value is not None
        measures["forgot"] = Measure(float(erased.value < scenario.stop.threshold), erased.n)
        if scenario.backdoor.queries is not None:
            found = audit(before, after, world, scenario.backdoor.queries)
            measures |= {name: Measure(value, n) for name, (value, n) in found.items()}
    return measures


def accuracies(models: Stack, world: World, scenario: Scenario) -> Tensor:
    """Accuracy of each of K models on the images that `evaluate` tests models on, f32[K]."""
    images = _test_images(world, scenario)
    found = []
    for some in models.chunks(MODELS):
        _, logits = some.outputs(images.pixels)
        found.append((logits.argmax(-1) == images.labels).float().mean(-1).cpu())
    return torch.cat(found)


def original_accuracy(before: Stack, world: World, scenario: Scenario) -> Measure:
    """Accuracy of the model before unlearning, on the images that `evaluate` tests the models after it on."""
    return _accuracy(before, _test_images(world, scenario))


def trajectory_point(model: Stack, world: World, scenario: Scenario) -> dict[str, Measure]:
    """One evaluation during unlearning: accuracy on a fixed choice of remaining images, on the erased and on the test
    images."""
    assert scenario.trajectory is not None
    erased = _erased_accuracy(model, world)
    points = {
        "remaining_accuracy": _accuracy(model, remaining_images(world, scenario.trajectory.images)),
        "erased_accuracy": erased,
        "accuracy": _accuracy(model, world.test),
    }
    return points | ({"backdoor_accuracy": erased} if scenario.backdoor is not None else {})


def remaining_images(world: World, most: int) -> Images:
    """A fixed random choice of images that no target erases."""
    # In a leak experiment no target may erase what the adversary knows.
    rows = world.parts["remaining"] if "remaining" in world.parts else world.parts["known"]
    return _some(world.pool.take(rows), most, world.seed)


def _test_images(world: World, scenario: Scenario) -> Images:
    return _some(world.test, LEAK_IMAGES, world.seed) if scenario.kind == "leak" else world.test


def _some(images: Images, most: int, seed: int) -> Images:
    """A fixed random choice: test sets are ordered, and the first images of MNIST's are harder than the rest."""
    order = torch.from_numpy(stream(seed, "evaluated images").permutation(len(images))[:most])
    return images.take(order.to(images.labels.device))


def _accuracy(after: Stack, images: Images) -> Measure:
    return _mean_over_models(after, images, images.labels)


def _divergence(after: Stack, images: Images) -> Measure:
    """KL[p(Z|X) || N(0, I)] of the first model, per dimension as in Table 2."""
    first = after.slice(0, 1)
    router = first.router(training=False)
    model = Functional(router, {n: v[0] for n, v in first.params.items()}, {n: v[0] for n, v in first.buffers.items()})
    values = []
    with torch.no_grad():
        for part in images.pixels.split(2_000):
            values.append(kl_to_prior(*model.encode(part.to(first.dtype) / 255), "mean"))
    return Measure(float(torch.cat(values).mean()), len(images))


def _erased_accuracy(after: Stack, world: World) -> Measure:
    """Accuracy of K models on their own erased images."""
    rows, right = world.targets.erased, 0
    for models, own in zip(after.chunks(MODELS), rows.split(MODELS), strict=True):
        for part in own.split(1_000, 1):
            _, logits = models.own_outputs(world.pool.pixels[part])
            right += int((logits.argmax(-1) == world.pool.labels[part]).sum())
    return Measure(right / rows.numel(), rows.numel())


def _memory(before: Stack, after: Stack, world: World, retrained: Retrained) -> dict[str, Measure]:
    """How much models still owe to the erased images, compared with retrained models (memory.py)."""
    n = world.targets.erased.numel()
    own = own_standings(after.expand(world.targets.replicas), world)
    original = standings(before.slice(0, 1), world)[0]
    return {
        "memory": Measure(memory(own, retrained), n),
        "memory_original": Measure(memory(original, retrained), n),
        "memory_square": Measure(memory_square(own, retrained), n),
        "memory_square_original": Measure(memory_square(original, retrained), n),
    }


def _backdoor(after: Stack, world: World, scenario: Scenario) -> dict[str, Measure]:
    """Success of the backdoor on stamped test images of the base class, and of every class but the target."""
    assert scenario.backdoor is not None
    assert world.stamped_test is not None
    base_class, target = scenario.backdoor.classes
    of_target = world.test.take((world.test.labels == target).nonzero().flatten())
    others = world.stamped_test.take((world.stamped_test.labels != target).nonzero().flatten())
    base = others.take((others.labels == base_class).nonzero().flatten())
    return {
        "target_class_accuracy": _accuracy(after, of_target),
        "other_classes_accuracy": _accuracy(after, world.test.take((world.test.labels != target).nonzero().flatten())),
        "backdoor_success": _share(after, base, target),
        "backdoor_success_any": _share(after, others, target),
    }


def _share(after: Stack, images: Images, label: int) -> Measure:
    return _mean_over_models(after, images, torch.full_like(images.labels, label))


def _mean_over_models(after: Stack, images: Images, labels: Tensor) -> Measure:
    """Share predicted as `labels`, averaged over models; a few models at a time."""
    if len(images) == 0:
        return Measure(None, 0)
    right = 0
    for models in after.chunks(MODELS):
        _, logits = models.outputs(images.pixels)
        right += int((logits.argmax(-1) == labels).sum())
    return Measure(right / (after.replicas * len(images)), len(images))
