"""Plugins for tests: a registry without files, and the same plugins as files of a --plugins folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from unlearnbench.networks.linear import Linear
from unlearnbench.networks.mlp import BottleneckMlp
from unlearnbench.networks.resnet18 import BottleneckResnet18
from unlearnbench.plugin import Access, Attack, Dataset, Evidence, ImageData, Method, Model, Plugin, UnlearnParams
from unlearnbench.registry.base import Kind
from unlearnbench.registry.plugin_info import BrokenPlugin, PluginInfo
from unlearnbench.registry.registry import Registry
from unlearnbench.settings.scenario import PluginParams, Strict


class Inner(Strict):
    depth: int = 1
    kind: Literal["wide", "deep"] = "wide"


class Original(Method):
    pass


class Fading(Method):
    """A method with parameters of every shape."""

    class Params(UnlearnParams):
        rate: float = Field(0.5, ge=0, description="weight")
        form: Literal["paper", "released"] = "paper"
        layers: list[int] = Field(default=[1, 2])
        inner: Inner = Inner()
        extra: Inner | None = None
        label: str = ""
        on: bool = False


class Guess(Attack):
    class Params(PluginParams):
        shadows: int = Field(8, ge=1)

    @property
    def access(self) -> Access:
        return Access()

    def run(self, view: Any) -> Evidence:
        return Evidence()


class Small(Dataset):
    defaults: ClassVar[Mapping[str, Any]] = {
        "beta": 0.01,
        "network": {"latent": 8},
        "leak": {"target": 100, "known": 50, "pool": 100, "validation": 10, "probe": 5, "spare": 5},
    }

    def files(self, root: Path) -> list[Path]:
        return []

    def load(self, root: Path) -> ImageData:
        raise NotImplementedError


class Plain(Small):
    defaults: ClassVar[Mapping[str, Any]] = {}

    class Params(PluginParams):
        path: str = "here"


NETWORKS: dict[str, type[Model]] = {"mlp": BottleneckMlp, "resnet18": BottleneckResnet18, "linear": Linear}


def info(kind: Kind, name: str, cls: type[Plugin]) -> PluginInfo:
    return PluginInfo(name, kind, cls, f"{name}.py", True, "0" * 64, 1)


def fake_registry() -> Registry:
    """original, retrain, fading; guess, peek; small, plain; and one broken method."""
    return Registry(
        methods={
            name: info("method", name, cls)
            for name, cls in {"original": Original, "retrain": Original, "fading": Fading}.items()
        },
        attacks={name: info("attack", name, Guess) for name in ("guess", "peek")},
        datasets={"small": info("dataset", "small", Small), "plain": info("dataset", "plain", Plain)},
        models={name: info("model", name, cls) for name, cls in NETWORKS.items()},
        broken=[BrokenPlugin("method", "cracked", "cracked.py", "RuntimeError: no")],
    )
