"""What torch, and the linear algebra libraries below it, keep for the whole process or thread.

Much of it has no public name; what a version of torch lacks is left out.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import _C
from torch.utils import _device as device_mode

from unlearnbench.system.process_state.shared_state import Change, Read, SharedState, Write, named, table

MIXED = "a mixture"  # of old and new settings, which torch refuses to put into one word

# --- modes that stay on a stack --------------------------------------------------------------------------------------


class Modes(NamedTuple):
    """What stands between a call of torch and its kernel.

    Attributes:
        device: the mode that torch.set_default_device made, and where factories put tensors.
        transforms: the number of torch.func's transforms under way.
        hooks: of tensors that are saved for a backward pass.
    """

    functions: tuple[Any, ...]
    dispatch: tuple[Any, ...]
    device: tuple[Any, Any]
    transforms: int
    hooks: Any
    overrides: Any
    inference: bool


def _modes() -> Modes:
    functions, dispatch = _C._len_torch_function_stack(), _C._len_torch_dispatch_stack()
    return Modes(
        tuple(map(_C._get_function_stack_at, range(functions))),
        tuple(map(_C._get_dispatch_stack_at, range(dispatch))),
        (getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None), device_mode.CURRENT_DEVICE),
        _C._functorch.get_dynamic_layer_stack_depth(),
        _C._autograd._top_saved_tensors_default_hooks(False),
        _C._get_torch_function_state(),  # type: ignore[attr-defined]
        torch.is_inference_mode_enabled(),
    )


_LEFT: deque[Any] = deque()  # guards that leave inference mode, and end when they are collected


def _set_modes(to: Modes) -> None:
    now = _modes()
    if now.inference != to.inference:
        _LEFT.append(_C._InferenceMode(to.inference))
        _LEFT[-1].__enter__()
    for _ in range(now.transforms - to.transforms):
        _C._functorch.pop_dynamic_layer_stack()
    for _ in now.functions:
        _C._pop_torch_function_stack()
    for mode in to.functions:
        _C._push_on_torch_function_stack(mode)
    for _ in now.dispatch:
        _C._pop_torch_dispatch_stack(None)
    for mode in to.dispatch:
        _C._push_on_torch_dispatch_stack(mode)
    torch._GLOBAL_DEVICE_CONTEXT.device_context, device_mode.CURRENT_DEVICE = to.device
    while (top := _C._autograd._top_saved_tensors_default_hooks(False)) is not None and top != to.hooks:
        _C._autograd._pop_saved_tensors_default_hooks()
    _C._set_torch_function_state(to.overrides)  # type: ignore[attr-defined]


def _modes_changes(before: Modes, after: Modes) -> list[Change]:
    def device(modes: Modes) -> str:
        return str(modes.device[1] or "cpu")

    def listed(modes: tuple[Any, ...]) -> str:
        return ", ".join(type(mode).__name__ for mode in modes) or "none"

    if device(before) != device(after):  # a mode like others, but this is what to search for
        return [Change("torch.set_default_device", device(before), device(after))]
    shown = named(["torch's function modes", "torch's dispatch modes", "torch.set_default_device",
                   "the depth of torch.func's transforms", "torch.autograd.graph.saved_tensors_hooks",
                   "torch's __torch_function__", "torch.inference_mode"])  # fmt: skip
    plain = [(listed(modes.functions), listed(modes.dispatch), *modes[2:]) for modes in (before, after)]
    return shown(*plain) or [Change("torch's modes", "those before", "others")]


# --- values ----------------------------------------------------------------------------------------------------------


def _gently(read: Read) -> Any:
    try:
        return read()
    except RuntimeError:
        return MIXED


def _flags() -> Iterator[tuple[str, Read, Write]]:
    """Name, getter and setter. What sets several comes before what sets one of them."""
    yield from (
        ("torch.set_float32_matmul_precision", partial(_gently, torch.get_float32_matmul_precision),
         torch.set_float32_matmul_precision),
        ("torch.set_default_dtype", torch.get_default_dtype, torch.set_default_dtype),
        ("torch.set_grad_enabled", torch.is_grad_enabled, _C._set_grad_enabled),
        ("torch.set_num_threads", torch.get_num_threads, torch.set_num_threads),
        ("torch.set_num_interop_threads", torch.get_num_interop_threads, torch.set_num_interop_threads),
        ("torch.func's fallback of vmap", _C._functorch._is_vmap_fallback_enabled,  # type: ignore[attr-defined]
         _C._functorch._set_vmap_fallback_enabled),  # type: ignore[attr-defined]
        ("torch.set_flush_denormal", _flushes, torch.set_flush_denormal),
        ("the rounding of the processor", _rounding, _no_way_back),
        ("torch.autograd.set_detect_anomaly",
         lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
         lambda value: _C.set_anomaly_enabled(*value)),
        ("torch.use_deterministic_algorithms",
         lambda: (torch.are_deterministic_algorithms_enabled(),
                  torch.is_deterministic_algorithms_warn_only_enabled()),
         lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1])),
        ("torch.autocast's cache", torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
        ("the depth of torch.autocast", _autocast_depth, _leave_autocast),
        ("torch.backends.mha.set_fastpath_enabled", torch.backends.mha.get_fastpath_enabled,
         torch.backends.mha.set_fastpath_enabled),
        ("torch.backends.opt_einsum.strategy", _einsum, _set_einsum),
    )  # fmt: skip
    for name, attribute in _PAIRS.items():
        getter, setter = (getattr(_C, f"_{verb}_{attribute}", None) for verb in ("get", "set"))
        getter = getter or getattr(_C, f"_is_{attribute}", None)
        if getter is not None and setter is not None and _gently(getter) is not None:
            yield name, partial(_gently, getter), setter
    for kind in ("flash", "mem_efficient", "math", "cudnn"):
        enabled, use = getattr(_C, f"_get_{kind}_sdp_enabled"), getattr(_C, f"_set_sdp_use_{kind}")
        yield f"torch.backends.cuda.enable_{kind}_sdp", enabled, use
    for device in ("cpu", "cuda"):
        yield (f"torch.autocast('{device}')", partial(torch.is_autocast_enabled, device),
               partial(torch.set_autocast_enabled, device))  # fmt: skip
        yield (f"torch.autocast('{device}', dtype)", partial(torch.get_autocast_dtype, device),
               partial(torch.set_autocast_dtype, device))  # fmt: skip
    for backend in ("generic", "cuda", "mkldnn"):
        for operation in ("all", "matmul", "conv", "rnn") if backend != "generic" else ("all",):
            name = f"torch.backends' fp32_precision of {backend} {operation}"
            yield (name, partial(_C._get_fp32_precision_getter, backend, operation),
                   partial(_C._set_fp32_precision_setter, backend, operation))  # fmt: skip


# torch.<name> and the ending of torch._C._get_... and _set_...
_PAIRS = {
    "torch.backends.cuda.matmul.allow_tf32": "cublas_allow_tf32",
    "torch.backends.cuda.matmul.allow_fp16_accumulation": "cublas_allow_fp16_accumulation",
    "torch.backends.cudnn.enabled": "cudnn_enabled",
    "torch.backends.cudnn.benchmark": "cudnn_benchmark",
    "torch.backends.cudnn.deterministic": "cudnn_deterministic",
    "torch.backends.cudnn.allow_tf32": "cudnn_allow_tf32",
    "torch.backends.mkldnn.enabled": "mkldnn_enabled",
    "torch.backends.mkldnn.deterministic": "mkldnn_deterministic",
    "torch.backends.nnpack": "nnpack_enabled",
    "torch.backends.quantized.engine": "qengine",
    "torch.backends.cuda.preferred_linalg_library": "linalg_preferred_backend",
    "torch.backends.cuda.preferred_blas_library": "blas_preferred_backend",
    "torch.backends.cpu.allow_fp16_reduced_precision_reduction": "cpu_allow_fp16_reduced_precision_reduction",
    "torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp": "math_sdp_allow_fp16_bf16_reduction",
    "torch.utils.deterministic.fill_uninitialized_memory": "deterministic_fill_uninitialized_memory",
    "torch.set_warn_always": "warnAlways",
    "torch.autograd.forward_ad": "fwd_grad_enabled",
    "torch.autograd.set_multithreading_enabled": "multithreading_enabled",
    "torch.autograd's view replay": "view_replay_enabled",
}


_TINY = 4.9e-322  # subnormal


def _flushes() -> bool:
    """Whether the processor treats subnormal numbers as 0; torch can set this but has no function that reads it."""
    return _TINY * 0.5 == 0.0


def _rounding() -> bool:
    """Whether the processor rounds to the nearest number."""
    small = math.ulp(1.0) / 4
    return 1.0 + small == 1.0 and 1.0 - small / 2 == 1.0 and -1.0 - small == -1.0


def _no_way_back(_: bool) -> None:
    raise RuntimeError("the processor's rounding can't be set from here")


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


def _leave_autocast(depth: int) -> None:
    while _autocast_depth() > depth:
        torch.autocast_decrement_nesting()
    while _autocast_depth() < depth:
        torch.autocast_increment_nesting()
    torch.clear_autocast_cache()


def _einsum() -> tuple[Any, Any]:
    module = torch.backends.opt_einsum
    return module.enabled, module.strategy


def _set_einsum(values: tuple[Any, Any]) -> None:
    torch.backends.opt_einsum.enabled, torch.backends.opt_einsum.strategy = values


FLAGS = tuple(_flags())


def _flags_changes(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[Change]:
    changes = named([name for name, _, _ in FLAGS])(before, after)
    return [change for change in changes if MIXED not in change] or changes  # what makes it a mixture says more


# --- hooks -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _registries() -> dict[str, Any]:
    """The mappings in which torch keeps hooks for all modules and optimisers."""
    modules = (sys.modules[name] for name in ("torch.nn.modules.module", "torch.optim.optimizer"))
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("_global_") and isinstance(value, dict)
    }


def _hooks() -> tuple[tuple[Any, ...], ...]:
    return tuple([tuple(registry.items()) for registry in _registries().values()])


def _set_hooks(values: tuple[tuple[Any, ...], ...]) -> None:
    for registry, value in zip(_registries().values(), values, strict=True):
        if tuple(registry.items()) != value:
            registry.clear()
            registry.update(value)


def _hooks_changes(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[Change]:
    pairs = zip(_registries(), before, after, strict=True)
    return [Change(name, f"{len(old)} hooks", f"{len(new)}") for name, old, new in pairs if old != new]


# --- a GPU -----------------------------------------------------------------------------------------------------------


def _gpu() -> int | None:
    """The current GPU; None if none has been used yet."""
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None


def _set_gpu(device: int | None) -> None:
    if device is not None:
        torch.cuda.set_device(device)


# --- threads of linear algebra ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _libraries(_: tuple[bool, ...]) -> list[Any]:
    """The loaded libraries; finding them takes a millisecond. Empty without threadpoolctl (scikit-learn has it)."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    found = ThreadpoolController().lib_controllers
    return [library for library in found if library.user_api == "blas"]


class Threads(dict[str, int]):
    """How many threads each library uses, by its file. A library that was loaded since makes no difference."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Threads) and not self.changed(other)

    __hash__ = None

    def changed(self, other: Threads) -> list[str]:
        """Libraries in both with another number."""
        return [library for library, count in self.items() if other.get(library, count) != count]


def _loaded() -> list[Any]:
    return _libraries(tuple([name in sys.modules for name in ("scipy.linalg", "sklearn")]))


def _blas() -> Threads:
    return Threads((library.filepath, library.num_threads) for library in _loaded())


def _set_blas(to: Threads) -> None:
    for library in _loaded():
        if library.filepath in to:
            library.set_num_threads(to[library.filepath])


def _blas_changes(before: Threads, after: Threads) -> list[Change]:
    return [Change("threads of linear algebra", str(before[one]), str(after[one])) for one in before.changed(after)[:1]]


STATES = (
    SharedState("torch's modes", _modes, _set_modes, _modes_changes),
    table("torch's settings", FLAGS, _flags_changes),
    SharedState("torch's hooks", _hooks, _set_hooks, _hooks_changes),
    SharedState("torch.cuda.set_device", _gpu, _set_gpu),
    SharedState("threads of linear algebra", _blas, _set_blas, _blas_changes),
)
