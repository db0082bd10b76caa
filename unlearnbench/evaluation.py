"""Utility of models after unlearning: accuracies, backdoor, divergence from the prior, and whether they forgot."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.divergences import kl_to_prior
from unlearnbench.plugin import Images
from unlearnbench.scenario import World
from unlearnbench.seeding import stream
from unlearnbench.settings import Scenario
from unlearnbench.stack import Functional, Stack

# Leak experiments evaluate dozens of models each: a fixed choice of so many images is enough there.
LEAK_IMAGES = 2_000
REMAINING_IMAGES = 10_000
ROUNDING = 1e-6  # of mean losses
MODELS = 32  # evaluated at a time


@dataclass(frozen=True)
class Measure:
    """A value and the number of images (or erasures) behind it."""

    value: float | None
    n: int


def evaluate(before: Stack, after: Stack, world: World, scenario: Scenario) -> dict[str, Measure]:
    """Metrics of K models, one per target, averaged over them; `before` is the original, 1 model or K."""
    leak = scenario.kind == "leak"
    test = _test_images(world, scenario)
    remaining = remaining_images(world, LEAK_IMAGES if leak else REMAINING_IMAGES)
    measures = {
        "accuracy": _accuracy(after, test),
        "remaining_accuracy": _accuracy(after, remaining),
        "kld_to_prior": _divergence(after, test),
    }
    _, erased_correct = _own_losses(after, world, world.targets.erased)
    measures["erased_accuracy"] = Measure(float(erased_correct.float().mean()), erased_correct.numel())
    measures["forgot"] = _forgot(erased_correct, before, after, world, scenario)
    if scenario.backdoor is not None:
        measures |= _backdoor(after, world, scenario)
        measures["backdoor_accuracy"] = measures["erased_accuracy"]
    return measures


def original_accuracy(before: Stack, world: World, scenario: Scenario) -> Measure:
    """Accuracy of the model before unlearning, on the images that `evaluate` tests the models after it on."""
    return _accuracy(before, _test_images(world, scenario))


def trajectory_point(model: Stack, world: World, scenario: Scenario) -> dict[str, Measure]:
    """One evaluation while unlearning: accuracy on a fixed choice of remaining images, on the erased, on the test."""
    assert scenario.trajectory is not None
    _, correct = _own_losses(model, world, world.targets.erased)
    erased = Measure(float(correct.float().mean()), correct.numel())
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
    """A fixed random choice: test sets come in an order, and the first images of MNIST's are the harder ones."""
    order = torch.from_numpy(stream(seed, "evaluated images").permutation(len(images))[:most])
    return images.take(order.to(images.labels.device))


def _accuracy(after: Stack, images: Images) -> Measure:
    return _mean_over_models(after, images, images.labels)


def _divergence(after: Stack, images: Images) -> Measure:
    """KL[p(Z|X) || N(0, I)] per dimension, the unit of Table 2, of the first model."""
    first = after.slice(0, 1)
    router = first.router(training=False)
    model = Functional(router, {n: v[0] for n, v in first.params.items()}, {n: v[0] for n, v in first.buffers.items()})
    values = []
    with torch.no_grad():
        for part in images.pixels.split(2_000):
            values.append(kl_to_prior(*model.encode(part.to(first.dtype) / 255), "mean"))
    return Measure(float(torch.cat(values).mean()), len(images))


def _own_losses(after: Stack, world: World, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and correctness, [K, n] each, of K models on their own images, rows i64[K, n]."""
    labels = world.pool.labels[rows]
    losses, correct = torch.empty(rows.shape), torch.empty(rows.shape, dtype=torch.bool)
    for first in range(0, after.replicas, MODELS):
        models = slice(first, first + MODELS)
        for left in range(0, rows.shape[1], 1_000):
            images = slice(left, left + 1_000)
            targets = labels[models, images]
            _, logits = after.slice(first, first + MODELS).own_outputs(world.pool.pixels[rows[models, images]])
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            losses[models, images] = loss.view(targets.shape).float().cpu()
            correct[models, images] = (logits.argmax(-1) == targets).cpu()
    return losses, correct


def _forgot(correct: Tensor, before: Stack, after: Stack, world: World, scenario: Scenario) -> Measure:
    """1 if the models forgot, 0 if not, null if it can't be told (PROTOCOL section 11, rule 3).

    Stamped sets: accuracy on them under the stop rule's threshold. Clean erasures, where forgetting is not
    misclassifying: members have a lower loss than never-seen images of their classes, and at least half of that
    advantage of the erased images, over all targets, must be gone. Before and after are compared on the same images,
    so that a method that does nothing never passes, however few they are; where the original shows no advantage,
    there is nothing to measure forgetting by.
    """
    if scenario.backdoor is not None:
        return Measure(float(correct.float().mean() < scenario.stop.threshold), correct.numel())
    advantage = _advantage(before, world)
    if not advantage > ROUNDING:
        return Measure(None, correct.numel())
    return Measure(float(_advantage(after, world) <= advantage / 2), correct.numel())


def _advantage(models: Stack, world: World) -> float:
    """Mean loss on never-seen images of the erased images' classes minus that on the erased images."""
    loss, _ = _own_losses(models.expand(world.targets.replicas), world, world.targets.erased)
    unseen = world.images("spare") if "spare" in world.parts else _some(world.test, LEAK_IMAGES, world.seed)
    labels = world.pool.labels[world.targets.erased].cpu()
    total = 0.0
    for first in range(0, world.targets.replicas, MODELS):
        rows = slice(first, first + MODELS)
        by_class = _class_losses(models if models.replicas == 1 else models.slice(first, first + MODELS), unseen)
        expected = by_class.expand(len(labels[rows]), -1).gather(1, labels[rows])
        total += float((expected - loss[rows]).double().nansum())
    return total / labels.numel()


def _class_losses(models: Stack, images: Images) -> Tensor:
    """Mean cross-entropy of each class, f32[K, Y]; NaN for a class without images."""
    _, logits = models.outputs(images.pixels)
    flat = F.cross_entropy(logits.flatten(0, 1), images.labels.repeat(models.replicas), reduction="none")
    losses = flat.view(models.replicas, -1).float().cpu()
    members = F.one_hot(images.labels.cpu(), logits.shape[-1]).float()
    return losses @ members / members.sum(0)


def _backdoor(after: Stack, world: World, scenario: Scenario) -> dict[str, Measure]:
    """Attack success on stamped test images of the base class, and on those of every class but the target."""
    assert scenario.backdoor is not None
    assert world.stamped_test is not None
    target = scenario.backdoor.target
    of_target = world.test.take((world.test.labels == target).nonzero().flatten())
    others = world.stamped_test.take((world.stamped_test.labels != target).nonzero().flatten())
    base = others.take((others.labels == scenario.backdoor.base).nonzero().flatten())
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
    for first in range(0, after.replicas, MODELS):
        _, logits = after.slice(first, first + MODELS).outputs(images.pixels)
        right += int((logits.argmax(-1) == labels).sum())
    return Measure(right / (after.replicas * len(images)), len(images))
