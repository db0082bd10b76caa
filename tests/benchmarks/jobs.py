"""The same jobs as in plain_jobs.py done by unlearnbench, through what methods and stages call."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from small_worlds import blobs
from unlearnbench.methods.crfu import Crfu

from unlearnbench.models.stack import Stack
from unlearnbench.settings.scenario import Network, Scenario, StopRule, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.training.context import Context

CLASSES = 10
MNIST, COLOUR = (1, 28, 28), (3, 32, 32)


def train(replicas: int, images: int, **settings: Any) -> None:
    """One epoch of the MNIST model, for each of `replicas` seeds."""
    _train(replicas, images, MNIST, **settings)


def train_resnet18(replicas: int, images: int) -> None:
    """One epoch of ResNet-18 on 32x32 colour images, for each of `replicas` seeds."""
    _train(replicas, images, COLOUR, network=Network(name="resnet18"))


def erase(count: int, steps: int, **settings: Any) -> None:
    """`count` erasures of one image each, from the same original; `replicas` is the number of models at a time."""
    scenario = Scenario(kind="utility", erased_count=1, stop=StopRule(steps=steps), **settings)
    images = 2_000
    sets = ErasureSets(_images(images, MNIST), torch.arange(images), torch.arange(count)[:, None])
    Crfu().unlearn_many(_original(images), sets, Context(scenario, range(count), MNIST, CLASSES))


@lru_cache
def _images(count: int, shape: tuple[int, int, int]) -> Any:
    return blobs(count, shape=shape, classes=CLASSES)


@lru_cache
def _original(images: int) -> Stack:
    return _train(1, images, MNIST)


def _train(replicas: int, images: int, shape: tuple[int, int, int], **settings: Any) -> Stack:
    scenario = Scenario(kind="utility", erased_count=1, training=Training(epochs=1), **settings)
    nothing = torch.empty(replicas, 0, dtype=torch.int64)
    sets = ErasureSets(_images(images, shape), torch.arange(images), nothing)
    return Context(scenario, range(replicas), shape, CLASSES).train(sets)
