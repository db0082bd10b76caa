"""Everything known about a plugin without running it: where it comes from, what it needs, its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from unlearnbench.registry.plugin_info import PluginInfo
from unlearnbench.settings.naming import short
from unlearnbench.settings.validation import members, submodel
from unlearnbench.system.package_versions import IN_EVERY_KEY, keyed
from unlearnbench.system.printing import error_line, one_line

if TYPE_CHECKING:
    from unlearnbench.settings.access import Access

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}
COUNTS = {"shadow_models": "shadow models", "in_and_out": "models with and without", "retrained": "retrained models"}


class Parameter(NamedTuple):
    """One parameter, in words.

    Attributes:
        name: dotted for parameters of a nested model.
        default: as JSON; `required` where there is none.
        bounds: e.g. ``> 0, <= 1``; empty if there are none.
        meaning: its description.
    """

    name: str
    type: str
    default: str
    bounds: str
    meaning: str


class Facts(NamedTuple):
    """What `list` and `info` show of a plugin.

    Attributes:
        origin: `built-in`, the path of a file, or ``distribution version: module:Class`` of an entry point.
        access: attacks only: what it needs with default parameters, in words.
    """

    kind: str
    name: str
    version: int
    source: Literal["built-in", "file", "entry point"]
    origin: str
    paper: str
    description: str
    access: str | None
    identity: str
    parameters: list[Parameter]

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {**self._asdict(), "parameters": [parameter._asdict() for parameter in self.parameters]}


def facts(info: PluginInfo) -> Facts:
    """Describe a plugin."""
    source: Literal["built-in", "file", "entry point"] = "entry point"
    if info.builtin:
        source = "built-in"
    elif Path(info.origin).is_absolute():
        source = "file"
    origin = "built-in" if info.builtin else info.origin
    access = _access(info) if info.kind == "attack" else None
    return Facts(info.kind, info.name, info.version, source, origin, info.cls.paper, info.description, access,
                 identity(info), list(_parameters(info.cls.Params)))  # fmt: skip


def identity(info: PluginInfo) -> str:
    """What its results are stored under: when any of this changes they are computed again."""
    made_of = info.made_of
    if made_of is None:
        parts = [f"version {info.version}"]
    else:
        files = "1 file" if made_of.files == 1 else f"{made_of.files} files"
        parts = [f"the content of {files} ({made_of.size:,} bytes) in {', '.join(map(str, made_of.places))}"]
    parts += [f"{name} {version}" for name, version in keyed((*info.packages, *IN_EVERY_KEY)).items()]
    text = ", ".join(parts)
    return f"{text}; not {', '.join(made_of.unknown)}, imported but not found" if made_of and made_of.unknown else text


def described(access: Access) -> str:
    """What an attack needs, in words."""
    parts = [f"level {access.level}"]
    if access.temperature != 1:
        parts.append(f"temperature {access.temperature:g}")
    if access.shadows:
        parts.append(f"{access.shadows} shadows, tier {access.tier}")
    parts += [f"{getattr(access, name)} {words}" for name, words in COUNTS.items() if getattr(access, name)]
    if access.budget:
        parts.append(f"{access.budget} images to ask about")
    if not access.before:
        parts.append("after unlearning only")
    if access.remaining:
        parts.append("remaining images")
    return ", ".join([*parts, *(["known members"] if access.members else [])])


def _access(info: PluginInfo) -> str:
    from unlearnbench.system.process_state.definitions import Definitions
    from unlearnbench.system.process_state.guard import guarded

    cls: Any = info.cls
    try:
        with guarded(f"attack {info.name}", None if info.is_released else Definitions(), random=True):
            return described(cls().access)
    except Exception as error:  # the plugin's own code; it may also need parameters
        return f"can't be determined: {error_line(error)}"


def _parameters(model: type[BaseModel], prefix: str = "") -> Iterator[Parameter]:
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field)
        names = " | ".join(_type_name(member) for member in members(field.annotation))
        yield Parameter(f"{prefix}{name}", names, default, _bounds(field), one_line(field.description or ""))
        inner = submodel(field.annotation)
        if inner is not None and inner is not model:
            yield from _parameters(inner, f"{prefix}{name}.")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    return one_line(short(to_jsonable_python(value, fallback=str)))


def _bounds(field: FieldInfo) -> str:
    found = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in BOUNDS.items()
        if isinstance(getattr(rule, name, None), int | float)
    ]
    return ", ".join(found)


def _type_name(member: Any) -> str:
    if get_origin(member) is Literal:
        return " | ".join(short(value) for value in get_args(member))
    if member is type(None):
        return "null"
    if get_origin(member) is None and isinstance(member, type):
        return "mapping" if issubclass(member, BaseModel) else member.__name__
    return one_line(str(member).replace("typing.", ""))
