"""`attack`: what one attack finds out about a method's erasures from a model and images of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from unlearnbench.adversary.observed_erasures import Erasures, observe_erasures
from unlearnbench.library.own_models import (
    LabelledImages,
    check_applies,
    classes_of,
    erased_by,
    folders_of,
    given_only,
    labelled,
    plugin_of,
    shape_text,
    stack_of,
)
from unlearnbench.library.surroundings import visiting
from unlearnbench.models.stack import Stack
from unlearnbench.plugin import Access, Attack, Method
from unlearnbench.settings.scenario import LeakSizes, Scenario, StopRule, Training
from unlearnbench.settings.validation import check
from unlearnbench.splits.erasure_choice import matched
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.identical_images import refuse_shared
from unlearnbench.splits.images import Images
from unlearnbench.splits.shadow_sets import shadow_erasures
from unlearnbench.splits.world import World, challenge
from unlearnbench.stages import isolation
from unlearnbench.stages.attacking import Seen, scores_of, seen_erasures, truth_for
from unlearnbench.stages.result_checks import PluginError, RemoteError
from unlearnbench.system.errors import AccessError, InputError, StrPath
from unlearnbench.system.seeding import derive, stream
from unlearnbench.training.context import Context

if TYPE_CHECKING:
    import pandas as pd

REPLICAS = 16  # erasures at a time
FEWEST = {"erased": 1, "remaining": 40, "unseen": 50}
# Of the never-seen images; the rest is the adversary's own.
PROBES, COMPARED = 0.1, 0.3
KNOWN = 0.75  # of the remaining images: those that the adversary holds


def attack(
    attack: str,
    method: str,
    model: nn.Module,
    erased: Any,
    remaining: Any,
    unseen: Any,
    *,
    params: Mapping[str, Any] | None = None,
    method_params: Mapping[str, Any] | None = None,
    steps: int = 20,
    seed: int = 0,
    batch: int = 20,
    lr: float = 1e-3,
    plugins: StrPath | Sequence[StrPath] = (),
) -> pd.DataFrame:
    """Attack the erasures that one method makes of a model of your own.

    Each of the erased images is erased by itself, from the same model, and the attack is asked about all of these
    erasures, as in a leak experiment of a suite: what it claims is compared with the truth, beside never-seen images of
    the same classes. What an attack may see it declares; shadows are erasures of remaining images that the adversary
    knows, by the same method. There is no retraining to compare with here: how much of a leak is the method's doing,
    only a suite can say.

    Args:
        attack: the name of an attack. Those that need models trained from scratch, or a representation, can't be used
            on a given model.
        method, model, erased, remaining, steps, seed, batch, lr, plugins: as for `unlearn`.
        unseen: images that the model was not trained on, in the same form: some are compared with the erased ones, some
            are probes, the others are the adversary's own.
        params: parameters of the attack.
        method_params: parameters of the method.

    Returns:
        One row for each metric, the index: `value`, `low` and `high` (95 % interval over images) and `n`, the number of
        images behind it.

    Raises:
        InputError: bad input, or an attack or a method that can't be used here; one line says why.
    """
    import pandas as pd

    folders = folders_of(plugins)
    eraser = cast(Method, plugin_of("method", method, method_params, folders, "method_params"))
    attacker = cast(Attack, plugin_of("attack", attack, params, folders, "params"))
    parts = [
        labelled(given, name) for given, name in ((erased, "erased"), (remaining, "remaining"), (unseen, "unseen"))
    ]
    for (pixels, _), name in zip(parts[1:], ("remaining", "unseen"), strict=True):
        if pixels.shape[1:] != parts[0][0].shape[1:]:
            raise InputError(name, f"images of {shape_text(pixels)}, but those of erased are {shape_text(parts[0][0])}")
    access = attacker.access
    _check_access(attack, access)
    channels, height, width = parts[0][0].shape[1:]
    before, device = stack_of(model, (channels, height, width))
    world = _world(parts, seed, device)
    scenario = Scenario(
        kind="leak", erased_count=1, targets=world.targets.replicas, beta=0.0, replicas=REPLICAS,
        stop=check(StopRule, {"rule": "steps", "steps": steps}, lambda keys: str(keys[-1])),
        training=check(Training, {"batch": batch, "lr": lr}, lambda keys: str(keys[-1])),
        leak=LeakSizes(**{name: len(world.parts[name]) for name in LeakSizes.model_fields}),
    )  # fmt: skip
    check_applies(eraser, scenario)
    if (reason := attacker.skip(scenario)) is not None:
        raise InputError("attack", f"{attack} can't be used here: {reason}")
    largest = max(int(labels.max()) for _, labels in parts)
    context = Context(scenario, [], (channels, height, width), classes_of(before, world.targets, largest), device,
                      before.dtype, architecture=given_only(method))  # fmt: skip
    with visiting():
        try:
            seen = _seen(eraser, before, world, access, context, seed)
            oracle = seen.oracle(access, seed)
            evidence = isolation.attacked(attacker, oracle, folders, ())
            scores = scores_of(evidence, truth_for(evidence, seen, scenario, seed), oracle)
        except (AccessError, PluginError, RemoteError) as error:
            raise InputError("attack", f"{attack}: {error}") from error
        finally:
            isolation.close()
    rows = {name: (found.value, found.low, found.high, found.n) for name, found in scores.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "n"])
    return table.rename_axis("metric")


def _check_access(attack: str, access: Access) -> None:
    if access.draw not in (None, "same"):
        what = "needs models that are trained from scratch, which only a suite does"
        raise InputError("attack", f"{attack} {what}; see docs/networks.md for a network of one's own")
    if access.level == "representation" or access.inference == "sample":
        raise InputError("attack", f"{attack} with these params sees representations, which a plain classifier lacks")


def _world(parts: Sequence[LabelledImages], seed: int, device: torch.device) -> World:
    """All sets: the rows of erased, remaining and never-seen images lie in this order in one pool."""
    pixels, labels = (torch.cat(same) for same in zip(*parts, strict=True))
    rows = torch.arange(len(labels))
    erased, remaining, unseen = rows.split([len(part) for _, part in parts])
    for (name, fewest), (_, some) in zip(FEWEST.items(), parts, strict=True):
        if len(some) < fewest:
            raise InputError(name, f"{len(some)} images; give {fewest} at least")
    own, never = (part[torch.from_numpy(stream(seed, "parts", name).permutation(len(part)))]
                  for name, part in (("remaining", remaining), ("unseen", unseen)))  # fmt: skip
    known, unerased = own.split([int(KNOWN * len(own)), len(own) - int(KNOWN * len(own))])
    probes, compared = int(PROBES * len(never)), int(COMPARED * len(never))
    probe, spare, pool = never.split([probes, compared, len(never) - probes - compared])
    images = Images(pixels, labels, rows)
    members = torch.cat([erased, remaining])
    try:
        refuse_shared(images, {"target": members, "unseen": unseen}, erased)
    except InputError as error:
        raise InputError("unseen", f"{error.what.partition('; ')[0]}; leave copies out") from None
    try:
        holdout = matched(labels, erased[:, None], spare, seed, "own targets", once=True)
    except InputError as error:
        raise InputError("unseen", f"{error.what.partition('; ')[0]}; give more of them") from None
    uncompared = spare[~torch.isin(spare, holdout)]
    sets = {"target": members, "known": known, "unerased": unerased, "candidates": torch.cat([erased, unerased]),
            "pool": pool, "validation": rows[:0], "probe": probe, "spare": spare, "uncompared": uncompared}  # fmt: skip
    images = images.to(device)
    order = torch.from_numpy(stream(seed, "parts", "members").permutation(len(members)))
    targets = ErasureSets(images, members[order].to(device), erased[:, None].to(device), holdout.to(device))
    placed = {name: part.to(device) for name, part in sets.items()}
    sizes = {name: len(part) for name, part in sets.items()}
    return World(images, images, targets, placed, None, sizes, seed, len(images))


def _seen(method: Method, before: Stack, world: World, access: Access, context: Context, seed: int) -> Seen:
    """The erasures of the targets and, if the attack declares shadows, the adversary's own."""
    names = seed, "target"
    after, targets = _erased(method, before, world.targets, world, context, names, every=access.keeps)
    shadows: dict[str, Tensor] | None = None
    if access.shadows:
        drawn = shadow_erasures(world, "same", access.shadows, 0, 1)
        names, keep = (seed, "shadow"), access.level == "parameters"
        _, made = _erased(method, before, drawn.sets[0], world, context, names, keep)
        shadows = {**made.tensors, "validation": drawn.validation, "model": drawn.model}
    pairs = challenge(world, context.scenario) if access.members else None
    erasures = seen_erasures(targets.tensors, access, before, after, world)
    return Seen(world, context.classes, before, after, erasures, shadows, pairs)


def _erased(
    method: Method, before: Stack, sets: ErasureSets, world: World, context: Context, names: tuple[int, str],
    keep: bool = False, every: bool = False,
) -> tuple[Stack, Erasures]:  # fmt: skip
    """The first model after unlearning, or `every` one, and the outputs of all.

    Args:
        keep: whether the outputs come with the changes of all parameters.
    """
    models: list[Stack] = []
    parts = []
    for at in range(0, sets.replicas, REPLICAS):
        some = sets.take(at, at + REPLICAS)
        own = replace(context, seeds=[derive(*names, at + k) for k in range(some.replicas)], counts=None)
        after = erased_by(method, before, some, own)
        if every or not models:
            models.append(after if every else after.slice(0, 1))
        parts.append(observe_erasures(before, after, some, world, f"{names[1]} {at}", keep))
    return Stack.concatenate(models), Erasures.concatenate(parts)
