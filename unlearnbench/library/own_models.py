"""`unlearn`: one method on a model and images of one's own, outside any suite."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from unlearnbench.models.architecture import Architecture, looped_of
from unlearnbench.models.plain_network import LackingError, PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Method, Plugin
from unlearnbench.registry.base import Kind
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Scenario, StopRule, Training
from unlearnbench.settings.validation import check, within
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import Images
from unlearnbench.stages.result_checks import PluginError, check_finite, erase_each
from unlearnbench.system.errors import InputError, StrPath, an
from unlearnbench.system.printing import error_line, one_line
from unlearnbench.training.context import Context

LabelledImages = tuple[Tensor, Tensor]


def unlearn(
    method: str,
    model: nn.Module,
    erased: Any,
    remaining: Any,
    *,
    params: Mapping[str, Any] | None = None,
    steps: int = 20,
    seed: int = 0,
    batch: int = 20,
    lr: float = 1e-3,
    plugins: StrPath | Sequence[StrPath] = (),
) -> nn.Module:
    """Apply one unlearning method to a model of your own. Your model stays as it is.

    The model is any classifier that maps images f32[B, C, H, W] with pixels in 0..1 to logits f32[B, Y]; what else it
    does with pixels (normalisation) has to be part of it. It is unlearned in eval mode, on the device where it lies.
    Frozen parameters stay as they are. What is measured by suites (whether it forgot, what leaks) is not measured
    here.

    Args:
        method: the name of a method. References, and methods that train an original of their own, don't apply to a
            given model; methods that need a representation don't apply to one that has none.
        erased: what to forget: a pair of tensors, or a torch Dataset of such pairs: images u8[n, C, H, W], or floats in
            0..1, which are rounded to 256 levels; and labels i64[n].
        remaining: the rest of the training data, in the same form.
        params: parameters of the method, as in a suite.
        steps: gradient steps (or Newton steps).
        seed: of all random numbers: the same call gives the same model.
        batch, lr: minibatch size and Adam's learning rate, where the method's parameters don't set their own.
        plugins: folders of your own plugins.

    Returns:
        A copy of the model with other weights, in the mode of yours (train or eval).

    Raises:
        InputError: bad input, or a method that can't be applied; one line says why.
    """
    plugin = cast(Method, plugin_of("method", method, params, folders_of(plugins), "params"))
    forget, keep = labelled(erased, "erased"), labelled(remaining, "remaining")
    if forget[0].shape[1:] != keep[0].shape[1:]:
        shapes = f"images of shape {shape_text(keep[0])}, but those of erased have {shape_text(forget[0])}"
        raise InputError("remaining", shapes)
    values: dict[str, Any] = {"kind": "utility", "erased_count": len(forget[0]), "beta": 0.0}
    values |= {"stop": check(StopRule, {"rule": "steps", "steps": steps}, lambda keys: str(keys[-1]))}
    values |= {"training": check(Training, {"batch": batch, "lr": lr}, lambda keys: str(keys[-1]))}
    scenario = Scenario(**values)
    check_applies(plugin, scenario)
    before, device = stack_of(model)
    sets = _sets(forget, keep, device)
    classes = classes_of(before, sets, max(int(forget[1].max()), int(keep[1].max())))
    channels, height, width = forget[0].shape[1:]
    context = Context(
        scenario, [seed], (channels, height, width), classes, device, before.dtype, architecture=given_only(method)
    )
    return _filled(model, erased_by(plugin, before, sets, context))


def plugin_of(kind: Kind, name: str, params: Mapping[str, Any] | None, folders: Sequence[Path], where: str) -> Plugin:
    """A plugin with its parameters. Raises InputError."""
    if not isinstance(name, str):
        raise InputError(kind, f"must be the name of {an(kind)}, not {type(name).__name__}")
    if params is not None and not isinstance(params, Mapping):
        raise InputError(where, f"must be a mapping of names to values, not {type(params).__name__}")
    info = discover(folders).find(kind, name, kind)
    return info.cls(check(info.cls.Params, dict(params or {}), within(where)))


def folders_of(plugins: StrPath | Sequence[StrPath]) -> list[Path]:
    """Folders of plugins, of which one may be given alone."""
    return [Path(folder) for folder in ([plugins] if isinstance(plugins, str | os.PathLike) else plugins)]


def stack_of(model: nn.Module, shape: tuple[int, int, int] | None = None) -> tuple[Stack, torch.device]:
    """One replica of somebody's model, and where it lies.

    Args:
        shape: of the images, C, H, W, where more replicas than one will be computed: it is tried whether torch.func
            vectorises the model.

    Raises:
        InputError: it has no parameters.
    """
    if not isinstance(model, nn.Module):
        raise InputError("model", f"must be a torch.nn.Module, not {type(model).__name__}")
    weights = next((value for value in model.parameters() if value.requires_grad), None)
    if weights is None:
        raise InputError("model", "has no parameters to train")
    if any(isinstance(value, nn.UninitializedParameter) for value in model.parameters()):
        raise InputError("model", "has layers without a size yet (Lazy...); call it once on an image")
    looped = (False, False) if shape is None else looped_of(copy.deepcopy(model).cpu(), shape)
    return Stack.of([PlainNetwork(model, looped=looped)]), weights.device


def given_only(method: str) -> Architecture:
    """The architecture of a given model, of which no fresh ones can be made. Raises InputError where they are asked
    for."""

    def refuse(*_: Any) -> nn.Module:
        what = "makes fresh models, which can't be made of a given one; bring the network as a plugin, in a suite"
        raise InputError("method", f"{method} {what}")

    return Architecture(refuse)


def erased_by(plugin: Method, before: Stack, sets: ErasureSets, context: Context) -> Stack:
    """The models after unlearning. Raises InputError where the method can't be applied, or breaks its contract."""
    try:
        with torch.enable_grad():
            after = erase_each(plugin, before, sets, context)
        check_finite(after, f"unlearning with {plugin.name}")
    except LackingError as error:
        raise InputError("method", f"{plugin.name} can't be applied to this model: {error}") from error
    except PluginError as error:
        raise InputError("method", str(error)) from error
    return after


def check_applies(plugin: Method, scenario: Scenario) -> None:
    name = plugin.name
    if plugin.reference:
        raise InputError("method", f"{name} is a reference of suites: it does not change a given model")
    if plugin.own_original:
        raise InputError("method", f"{name} with these params trains an original of its own, not a given model")
    lacking: Sequence[str] = getattr(plugin, "needs", ())
    if lacking:
        raise InputError("method", f"{name} needs {' and '.join(lacking)}, which a plain classifier does not have")
    if (reason := plugin.skip(scenario)) is not None:
        raise InputError("method", f"{name} can't be applied: {reason}")


# --- images ----------------------------------------------------------------------------------------------------------


def labelled(given: Any, where: str) -> LabelledImages:
    """Images u8[n, C, H, W] and labels i64[n] from a pair of them, or from a Dataset."""
    if isinstance(given, tuple | list) and len(given) == 2 and not isinstance(given[0], tuple | list):
        try:
            pixels, labels = (torch.as_tensor(part) for part in given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(where, f"must be images and labels as tensors: {one_line(error)}") from error
    elif hasattr(given, "__getitem__") and hasattr(given, "__len__") and len(given):
        pairs = [given[number] for number in range(len(given))]
        try:
            pixels = torch.stack([torch.as_tensor(image) for image, *_ in pairs])
            labels = torch.as_tensor([int(label) for _, label, *_ in pairs])
        except (TypeError, ValueError, RuntimeError) as error:
            what = f"a Dataset must give images as tensors of one shape, and labels: {one_line(error)}"
            raise InputError(where, what) from error
    else:
        raise InputError(where, "must be images and labels, as a pair of tensors or a torch Dataset that is not empty")
    if pixels.dim() != 4 or labels.shape != pixels.shape[:1] or not len(labels):
        raise InputError(
            where, f"must be images [n, C, H, W] and n labels, not {shape_text(pixels)} and {shape_text(labels)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool or int(labels.min()) < 0:
        raise InputError(where, "labels must be whole numbers from 0")
    return _bytes(pixels.detach().cpu(), where), labels.detach().cpu().long()


def _bytes(pixels: Tensor, where: str) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels
    if not pixels.is_floating_point():
        kind = str(pixels.dtype).removeprefix("torch.")
        raise InputError(where, f"pixels must be uint8, or floats in 0..1, not {kind}")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        what = f"pixels from {low:.3g} to {high:.3g}; give them in 0..1, and normalise inside the model"
        raise InputError(where, what)
    return (pixels * 255).round().to(torch.uint8)


def _sets(erased: LabelledImages, remaining: LabelledImages, device: torch.device) -> ErasureSets:
    """One erasure: the erased images come first in the pool."""
    pixels, labels = (torch.cat(pair) for pair in zip(erased, remaining, strict=True))
    rows = torch.arange(len(labels))
    pool = Images(pixels, labels, rows).to(device)
    return ErasureSets(pool, rows.to(device), rows[None, : len(erased[1])].to(device))


def shape_text(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


# --- models ----------------------------------------------------------------------------------------------------------


def classes_of(before: Stack, sets: ErasureSets, largest: int) -> int:
    """How many classes the model distinguishes, found by asking it."""
    try:
        with torch.no_grad():
            logits = before.module(0).to(sets.pool.pixels.device)(sets.pool.pixels[:1].to(before.dtype) / 255)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        what = f"can't answer about an image of shape {shape_text(sets.pool.pixels[0])}: {error_line(error)}"
        raise InputError("model", what) from error
    if logits.dim() != 2:
        raise InputError("model", f"must give logits [B, Y], not {shape_text(logits)} for one image")
    if largest >= logits.shape[1]:
        raise InputError("model", f"gives {logits.shape[1]} logits, but there is an image of class {largest}")
    return int(logits.shape[1])


def _filled(model: nn.Module, after: Stack) -> nn.Module:
    """A copy of the user's model, hooks and modes included, with the weights that came out."""
    result = copy.deepcopy(model)
    there = result.state_dict()
    new = {name.removeprefix("network."): value[0] for name, value in after.tensors.items()}
    if {name for name, _ in model.named_parameters()} - set(new):
        raise InputError("method", "its result is a model of another architecture, which a given model can't become")
    # Weights that are tied have one name here, and temporary buffers have none there.
    result.load_state_dict({name: value for name, value in new.items() if name in there}, strict=False)
    return result
