"""`unlearn`: one method on a model and images of one's own, outside any suite."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.models.plain_network import LackingError, PlainNetwork
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Method
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Scenario, StopRule, Training
from unlearnbench.settings.validation import check, within
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import Images
from unlearnbench.stages.result_checks import PluginError, check_finite, erase_each
from unlearnbench.system.errors import InputError, StrPath
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
    All parameters change, frozen ones too. What is measured by suites (whether it forgot, what leaks) is not measured
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
    folders = [Path(folder) for folder in ([plugins] if isinstance(plugins, str | os.PathLike) else plugins)]
    info = discover(folders).find("method", method, "method")
    plugin = info.cls(check(info.cls.Params, dict(params or {}), within("params")))
    assert isinstance(plugin, Method)
    forget, keep = _labelled(erased, "erased"), _labelled(remaining, "remaining")
    if forget[0].shape[1:] != keep[0].shape[1:]:
        shapes = f"images of shape {_shape(keep[0])}, but those of erased have {_shape(forget[0])}"
        raise InputError("remaining", shapes)
    values: dict[str, Any] = {"kind": "utility", "erased_count": len(forget[0]), "beta": 0.0}
    values |= {"stop": check(StopRule, {"rule": "steps", "steps": steps}, lambda keys: str(keys[-1]))}
    values |= {"training": check(Training, {"batch": batch, "lr": lr}, lambda keys: str(keys[-1]))}
    scenario = Scenario(**values)
    _check_applies(plugin, scenario)
    weights = next(model.parameters(), None)
    if weights is None:
        raise InputError("model", "has no parameters")
    before = Stack.of([PlainNetwork(model)])
    sets = _sets(forget, keep, weights.device)
    classes = _classes(before, sets, max(int(forget[1].max()), int(keep[1].max())))
    channels, height, width = forget[0].shape[1:]
    context = Context(scenario, [seed], (channels, height, width), classes, weights.device, before.dtype)
    try:
        after = erase_each(plugin, before, sets, context)
        check_finite(after, f"unlearning with {method}")
    except LackingError as error:
        raise InputError("method", f"{method} can't be applied to this model: {error}") from error
    except PluginError as error:
        raise InputError("method", str(error)) from error
    return _filled(model, after)


def _check_applies(plugin: Method, scenario: Scenario) -> None:
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


def _labelled(given: Any, where: str) -> LabelledImages:
    """Images u8[n, C, H, W] and labels i64[n] from a pair of them, or from a Dataset."""
    if isinstance(given, tuple | list) and len(given) == 2:
        pixels, labels = (torch.as_tensor(part) for part in given)
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
        raise InputError(where, f"must be images [n, C, H, W] and n labels, not {_shape(pixels)} and {_shape(labels)}")
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


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


# --- models ----------------------------------------------------------------------------------------------------------


def _classes(before: Stack, sets: ErasureSets, largest: int) -> int:
    """How many classes the model distinguishes, found by asking it."""
    try:
        with torch.no_grad():
            logits = before.module(0).to(sets.pool.pixels.device)(sets.pool.pixels[:1].to(before.dtype) / 255)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        what = f"can't answer about an image of shape {_shape(sets.pool.pixels[0])}: {error_line(error)}"
        raise InputError("model", what) from error
    if logits.dim() != 2:
        raise InputError("model", f"must give logits [B, Y], not {_shape(logits)} for one image")
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
