"""Any function that makes a network, by import path: timm, transformers, your own package."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import Field, JsonValue, model_validator
from torch import Tensor, nn

from unlearnbench.models.last_layer import LastLayer
from unlearnbench.plugin import Model, PluginParams
from unlearnbench.registry.identity import distributions
from unlearnbench.system.torchvision_import import import_torchvision

LOADERS = {"hub", "load", "from_pretrained", "load_state_dict_from_url", "jit", "export"}


def _texts(value: Any) -> Iterator[str]:
    """All texts in JSON values."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(part)


def _is_there(text: str) -> bool:
    try:
        return Path(text).exists() or "://" in text
    except (OSError, ValueError):  # not a path at all
        return False


class AnswerOfLogits(nn.Module):
    """A network whose answer may be an object with `logits`, as that of transformers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        answer: Any = self.network(images)
        logits: Tensor = getattr(answer, "logits", answer)
        return logits


class Factory(Model):
    """Calls ``function(**arguments)`` of a module that can be imported, with the number of classes as `classes_as`:

        network: {name: factory, path: "timm:create_model", arguments: {model_name: resnet10t, in_chans: 1}}

    The version of the package is part of every key. So the module has to be of an installed package (not an editable
    one), and neither loaders (`torch.hub:load`, `from_pretrained`) nor arguments that name files are accepted: for code
    and weights of your own write a plugin of kind `model`, which is known by its content. The input of the
    layer named `last_layer` is its representation; without a name it has none.
    """

    paper = "whatever the function names"

    @property
    def features(self) -> bool:
        return self.params.last_layer is not None

    class Params(PluginParams):
        path: str = Field(pattern=r"^[\w.]+:[\w.]+$", max_length=200, description="module:function")
        arguments: dict[str, JsonValue] = Field(default={}, description="arguments by name")
        classes_as: str | None = Field("num_classes", description="the argument that takes the number of classes")
        last_layer: str | None = Field(None, description="the name of the linear layer that gives the logits")
        channels_as: str | None = Field(None, description="the argument that takes the number of channels")

        @property
        def keyed_packages(self) -> tuple[str, ...]:
            return tuple(distributions(self.path.partition(".")[0].partition(":")[0]))

        @model_validator(mode="after")
        def _is_installed(self) -> Self:
            write = "write a plugin of kind model (unlearnbench new model)"
            if not self.keyed_packages:
                module = self.path.partition(":")[0]
                raise ValueError(f"{module} is of no installed package, and its changes would go unnoticed; {write}")
            names = set(self.path.replace(":", ".").split("."))
            if loads := names & LOADERS:
                raise ValueError(f"{min(loads)} loads what is not part of the package, and would go unnoticed; {write}")
            if (named := next(filter(_is_there, _texts(self.arguments)), None)) is not None:
                raise ValueError(f"'{named}' is a file or folder, and its changes would go unnoticed; {write}")
            return self

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        p = self.params
        import_torchvision()  # timm imports it
        module, _, names = p.path.partition(":")
        function: Any = importlib.import_module(module)
        for name in names.split("."):
            function = getattr(function, name)
        given = {p.classes_as: classes, p.channels_as: shape[0]}
        made = function(**{name: value for name, value in given.items() if name is not None}, **p.arguments)
        if not isinstance(made, nn.Module):
            raise TypeError(f"{p.path} made {type(made).__name__}, not a torch.nn.Module")
        return (
            AnswerOfLogits(made) if p.last_layer is None else LastLayer(AnswerOfLogits(made), f"network.{p.last_layer}")
        )
