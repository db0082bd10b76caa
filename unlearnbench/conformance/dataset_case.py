"""A dataset under examination; it is skipped where its files are not at hand."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor

from unlearnbench.conformance.case import Case, Outcome
from unlearnbench.errors import InputError
from unlearnbench.plugin import ImageData, Images


class DatasetCase(Case):
    """Loads the images; the network is refused meanwhile."""

    @cached_property
    def reason(self) -> str | None:
        try:
            self.watched(self.plugin.files, self.place.data_root)
        except InputError as error:
            return f"its data is not here: {error}"
        return None

    @cached_property
    def files(self) -> Any:
        return self.watched(self.plugin.files, self.place.data_root)

    @cached_property
    def data(self) -> Any:
        return self.watched(self.plugin.load, self.place.data_root)

    @cached_property
    def class_names(self) -> Any:
        return self.watched(self.plugin.class_names, self.place.data_root)

    @cached_property
    def first(self) -> Outcome:
        return _numbers(self.data)

    def run(self) -> Outcome:
        return _numbers(self.watched(self.plugin.load, self.place.data_root))


def _numbers(data: Any) -> Outcome:
    """All tensors by name; those only that are where they should be."""
    if not isinstance(data, ImageData):
        return {}
    found: dict[str, Tensor] = {}
    for name, part in (("train", data.train), ("test", data.test)):
        if isinstance(part, Images):
            parts = {f"{name}.{field}": getattr(part, field) for field in ("pixels", "labels", "ids")}
            found |= {field: value for field, value in parts.items() if isinstance(value, Tensor)}
    return found
