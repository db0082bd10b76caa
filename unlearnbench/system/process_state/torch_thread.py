"""Torch's state of a thread on the way to a kernel, and how torch.func takes containers apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import _C
from torch.autograd import forward_ad
from torch.utils import _pytree

from unlearnbench.system.process_state.shared_state import Change, SharedState, named, shown

# --- dispatch keys ---------------------------------------------------------------------------------------------------

_included: Callable[[], Any] = _C._dispatch_tls_local_include_set
_excluded: Callable[[], Any] = _C._dispatch_tls_local_exclude_set


def _keys() -> tuple[int, int]:
    """The dispatch keys that are included whatever a tensor has, and those that are excluded."""
    return _included().raw_repr(), _excluded().raw_repr()


_ENTERED: deque[Any] = deque()  # what sets both as long as it lives


def _set_keys(to: tuple[int, int]) -> None:
    # Removing a single key leaves behind the backend that came with it; this sets both sets as a whole.
    sets = [_C.DispatchKeySet.from_raw_repr(raw) for raw in to]
    _ENTERED.append(_C._ForceDispatchKeyGuard(*sets))
    _ENTERED[-1].__enter__()


def _keys_changes(before: tuple[int, int], after: tuple[int, int]) -> list[Change]:
    plain = [tuple(str(_C.DispatchKeySet.from_raw_repr(raw)) for raw in values) for values in (before, after)]
    return named(["torch's included dispatch keys", "torch's excluded dispatch keys"])(*plain)


# --- forward mode ----------------------------------------------------------------------------------------------------


def _level() -> tuple[int, bool]:
    """The level of dual numbers as Python counts it, and whether torch itself is inside one."""
    try:
        _C._exit_dual_level(level=_C._enter_dual_level())
    except RuntimeError:  # there is one, and no more than one
        return forward_ad._current_level, True
    return forward_ad._current_level, False


def _set_level(to: tuple[int, bool]) -> None:
    if _level()[1] and not to[1]:
        _C._exit_dual_level(level=0)
    elif to[1] and not _level()[1]:
        _C._enter_dual_level()
    forward_ad._current_level = to[0]


def _level_changes(before: tuple[int, bool], after: tuple[int, bool]) -> list[Change]:
    return [Change("torch.autograd.forward_ad's dual level", str(before[0]), str(max(after[0], int(after[1]) - 1)))]


# --- containers ------------------------------------------------------------------------------------------------------


_NODES = (_pytree.SUPPORTED_NODES,)  # the one that its functions know


class Containers(tuple[Any, ...]):
    """Classes that torch.func takes apart, and how. Further classes make no difference, except those that all use."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Containers) and not self.changed(other)

    __hash__ = None  # type: ignore[assignment]

    def changed(self, after: Containers) -> list[Any]:
        """The classes that are taken apart differently."""
        if tuple.__eq__(self, after):
            return []
        old, new = dict(self), dict(after)
        return [*(cls for cls, how in old.items() if new.get(cls) is not how),
                *(cls for cls in new if cls not in old and _is_common(cls))]  # fmt: skip


def _is_common(cls: Any) -> bool:
    """Whether values of other plugins may be of this class: Python's own, numpy's, tensors and modules."""
    if not isinstance(cls, type):
        return False
    root = cls.__module__.partition(".")[0]
    return root in ("builtins", "numpy") or issubclass(cls, (torch.Tensor, torch.nn.Module))


def _read_containers() -> Containers:
    return Containers(_pytree.SUPPORTED_NODES.items())


def _set_containers(to: Containers) -> None:
    _pytree.SUPPORTED_NODES = nodes = _NODES[0]
    kept = dict(to)
    for cls in to.changed(_read_containers()):
        if cls in kept:
            nodes[cls] = kept[cls]
        else:
            del nodes[cls]


def _containers_changes(before: Containers, after: Containers) -> list[Change]:
    return [Change("torch.utils._pytree.SUPPORTED_NODES", "its own way", f"another for {shown(cls)}")
            for cls in before.changed(after)]  # fmt: skip


STATES = (
    SharedState("torch's dispatch keys", _keys, _set_keys, _keys_changes),
    SharedState("torch.autograd.forward_ad", _level, _set_level, _level_changes),
    SharedState("torch.utils._pytree", _read_containers, _set_containers, _containers_changes),
)
