"""What answers the adversary: it holds the models, the sets and the truth, and grants what the access declares.

A view (view.py) asks with a name and tensors, and gets tensors back. So the oracle may live in the attack's process or
in another one (isolation.py), where nothing that the attack does can reach it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from unlearnbench.adversary.observation import observe
from unlearnbench.adversary.observed_erasures import Erasures
from unlearnbench.adversary.sampled_model import SampledModel
from unlearnbench.adversary.updates import Updates
from unlearnbench.adversary.view import AttackView, Which, update_tensors
from unlearnbench.adversary.weights_shown import weights_shown
from unlearnbench.models.stack import Stack
from unlearnbench.settings.access import Access
from unlearnbench.system.errors import AccessError

if TYPE_CHECKING:
    from unlearnbench.splits.images import Images
    from unlearnbench.splits.world import Challenge, World

ASKED = 20_000  # images, of all targets together, that are answered at a time

_T = TypeVar("_T")
Answer = dict[str, Tensor]


class Oracle:
    """Answers one attack.

    Args:
        access: as the attack declared it; asking for more raises AccessError.
        world: all sets; the attack is shown only parts of it.
        seed: of the attack's random numbers, the same for every method under attack.
        before: the targets' models: one that all erasures start from.
        after: the models after unlearning: of all T targets, or of the first only if no other is needed.
        targets: outputs of all targets; None in a utility experiment.
        shadows: outputs of the adversary's own models, as the stage stored them; None if not declared.
        challenge: members and never-seen images; None if not declared.
        network: what the architecture is made from in another process (stages/seen_network.py).

    Attributes:
        asked: how many images were asked about: the first target's models `before` and `after`, and with `ask` those of
            each target, against its `budget`.
    """

    def __init__(
        self,
        access: Access,
        world: World,
        classes: int,
        seed: int,
        before: Stack,
        after: Stack,
        targets: Erasures | None = None,
        shadows: Mapping[str, Tensor] | None = None,
        challenge: Challenge | None = None,
        network: Mapping[str, Any] | None = None,
    ) -> None:
        self.access, self.classes, self.seed = access, classes, seed
        self.network = network
        self.asked = Counter[str]()
        self._world = world
        self._all = {"before": before, "after": after}
        self._models = {"before": before.take(0, 1), "after": after.take(0, 1)}
        self._sampled = {
            name: SampledModel(model, seed, name, access.queries)
            for name, model in self._models.items()
            if access.inference == "sample"
        }
        self._targets, self._shadows, self._challenge = targets, shadows, challenge
        self._questions: Mapping[str, Callable[[Mapping[str, Tensor]], Answer]] = {
            "auxiliary": lambda _: self._images("auxiliary images", "pool"),
            "probe": lambda _: self._images("probe images", "probe"),
            "before": lambda given: self._query("before", given),
            "after": lambda given: self._query("after", given),
            "ask before": lambda given: self._asked("before", given),
            "ask after": lambda given: self._asked("after", given),
            "models before": lambda _: self._weights("before"),
            "models after": lambda _: self._weights("after"),
            "erased_count": lambda _: self._erased_count(),
            "updates": lambda _: self._updates(),
            "shadow_updates": lambda _: self._shadow_updates(),
            "in_and_out": lambda _: self._in_and_out(),
            "retrained_models": lambda _: self._retrained_models(),
            "known": lambda _: self._known(),
            "challenge": lambda _: _shown(self._members().hidden),
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of the images."""
        channels, height, width = self._world.pool.pixels.shape[1:]
        return channels, height, width

    def view(self) -> AttackView:
        """A view that asks this oracle, in the same process."""
        return AttackView(self.access, self.shape, self.classes, self.seed, self.answer, lambda: self._all["before"])

    def answer(self, question: str, given: Mapping[str, Tensor]) -> Answer:
        """The answer to a question from AttackView, on the CPU.

        Args:
            given: what the question is about: `pixels` u8[n, C, H, W] for the models, otherwise nothing.

        Raises:
            AccessError: it was not declared, or does not exist in this experiment.
        """
        if question not in self._questions:
            raise AccessError(f"there is no question '{question}'")
        return self._questions[question](given)

    # --- images -----------------------------------------------------------------------------------------------------

    def _images(self, what: str, part: str) -> Answer:
        return _shown(self._own(what, self._world.images(part) if "pool" in self._world.parts else None))

    def _known(self) -> Answer:
        challenge = self._members()
        return {**_shown(challenge.known), "membership": challenge.known_membership}

    def _members(self) -> Challenge:
        if not self.access.members:
            raise AccessError("known and challenge need `members=True` in the attack's access")
        return self._own("known members", self._challenge)

    # --- outputs ----------------------------------------------------------------------------------------------------

    def _query(self, which: str, given: Mapping[str, Tensor]) -> Answer:
        self._seen_at_all(which)
        pixels = _images_asked(given.get("pixels"), self.shape, None).to(self._world.pool.pixels.device)
        self.asked[which] += len(pixels)
        if self.access.budget:
            self._spend(len(pixels))
        if self.access.inference == "sample":
            z, logits = self._sampled[which](pixels)
        else:
            z, logits = (values[0] for values in self._models[which].outputs(pixels))
        return {"outputs": observe(self.access.level, z, logits, self.access.temperature).float().cpu()}

    def _asked(self, which: str, given: Mapping[str, Tensor]) -> Answer:
        """Outputs of all targets' models about images of the attack's own."""
        self._seen_at_all(which)
        if not self.access.budget:
            raise AccessError("ask needs a `budget` of images in the attack's access, which declares none")
        targets = len(self._own("targets to ask", self._targets).erased_rows)
        pixels = _images_asked(given.get("pixels"), self.shape, targets).to(self._world.pool.pixels.device)
        own = pixels.ndim == 5
        count = pixels.shape[1] if own else len(pixels)
        self._spend(count)
        models = self._all[which]
        answers = []
        for part in pixels.split(max(1, ASKED // targets), 1 if own else 0):
            z, logits = models.own_outputs(part) if own else models.outputs(part)
            answers.append(observe(self.access.level, z, logits, self.access.temperature).float().cpu())
        outputs = torch.cat(answers, 1)
        return {"outputs": outputs.expand(targets, -1, -1).contiguous()}

    def _spend(self, count: int) -> None:
        """Count questions about so many images against the budget."""
        if self.asked["budget"] + count > self.access.budget:
            raise AccessError(
                f"the attack's budget is {self.access.budget} images per target, {self.asked['budget']} are asked and"
                f" {count} more wanted: declare a larger one"
            )
        self.asked["budget"] += count

    def _weights(self, which: Which) -> Answer:
        self._seen_at_all(which)
        if self.access.level != "parameters":
            raise AccessError(f"models needs level 'parameters' in the attack's access, which declares"
                              f" '{self.access.level}'")  # fmt: skip
        models = weights_shown(self._all[which], self.access, self._world.seed, which)
        return {name: value.to("cpu", copy=True) for name, value in models.tensors.items()}

    def _seen_at_all(self, which: str) -> None:
        if which == "before" and not self.access.before:
            raise AccessError("the attack's access declares before=False: it sees the model after unlearning only")

    def _updates(self) -> Answer:
        if self.access.inference == "sample":
            raise AccessError("updates are outputs at the mean of p(Z|X), and the attack's access declares `sample`")
        return update_tensors(self._seen(self._erasures()))

    def _erased_count(self) -> Answer:
        return {"count": torch.tensor(self._erasures().erased_rows.shape[1])}

    def _shadow_updates(self) -> Answer:
        tensors = self._declared("shadow_updates", "shadows")
        erasures = Erasures.of_tensors(tensors)
        rows = erasures.erased_rows.to(self._world.pool.labels.device)
        return {
            **update_tensors(self._seen(erasures)),
            "images": self._world.pool.pixels[rows].cpu(),
            "labels": self._world.pool.labels[rows].cpu(),
            "erased": erasures.candidate_erased,
            "validation": tensors["validation"],
            "model": tensors["model"],
        }

    def _in_and_out(self) -> Answer:
        tensors = self._declared("in_and_out", "in_and_out")
        tried = Erasures.of_tensors(tensors)
        rows = self._own("candidates", self._targets).candidate_rows
        updates = self._seen(tried)
        # Each model's erasures cover all candidates: put them in the order of the targets' candidates.
        models = self.access.in_and_out
        places = tried.candidate_rows.view(models, -1).argsort(1)
        order = places.gather(1, rows.flatten().argsort().argsort().expand(models, -1))

        def placed(values: Tensor) -> Tensor:
            flat = values.reshape(models, order.shape[1], -1)
            chosen = flat.gather(1, order[:, :, None].expand(-1, -1, flat.shape[2]))
            return chosen.view(models, *rows.shape, -1)

        def one_of_each(values: Tensor) -> Tensor:
            return values.view(models, -1, *values.shape[1:])[:, :1].flatten(0, 1)  # none without `before`

        was_in = placed(tried.candidate_erased)[..., 0]
        return {"before": placed(updates.candidates_before), "after": placed(updates.candidates_after),
                "was_in": was_in, "population_before": one_of_each(updates.probe_before),
                "population_after": one_of_each(updates.probe_after)}  # fmt: skip

    def _retrained_models(self) -> Answer:
        tensors = self._declared("retrained_models", "retrained")

        def seen(kind: str) -> Tensor:
            logits = tensors[f"{kind}_logits"]  # Z is not kept, and `access` has refused level `representation`
            return observe(self.access.level, logits, logits, self.access.temperature)

        answers = {kind: seen(kind) for kind in ("unlearned", "retrained", "null")}
        return {**answers, "labels": tensors["labels"], "part": tensors["part"]}

    def _erasures(self) -> Erasures:
        return self._own("updates", self._targets)

    def _seen(self, erasures: Erasures) -> Updates:
        updates = erasures.updates(self.access, self._world)
        if self.access.before:
            return updates
        nothing = {name: getattr(updates, name)[:0] for name in ("probe_before", "candidates_before")}
        return updates._replace(**nothing, parameter_changes={})

    # --- refusals ---------------------------------------------------------------------------------------------------

    def _declared(self, asked: str, field: str) -> Mapping[str, Tensor]:
        if getattr(self.access, field) == 0:
            raise AccessError(f"{asked} needs `{field}` in the attack's access, which declares none")
        return self._own(f"models for {asked}", self._shadows)

    def _own(self, what: str, value: _T | None) -> _T:
        if value is None:
            raise AccessError(f"{what}: there are none in this experiment")
        return value


def _images_asked(pixels: Tensor | None, shape: tuple[int, int, int], targets: int | None) -> Tensor:
    """Images u8 or f32[n, C, H, W] or, with `targets`, [T, n, C, H, W], from 0 to 255, as an attack asked about them;
    refused unless they are images."""
    expected = f"u8 or f32[n, {', '.join(map(str, shape))}]"
    if targets is not None:
        expected += f", or [{targets}, n, ...] with one's own for each target"
    given = None if pixels is None else tuple(pixels.shape)
    own = given is not None and len(given) == 5 and given[0] == targets
    if pixels is None or given is None or given[-3:] != shape or not (len(given) == 4 or own):
        raise AccessError(f"ask: pixels of shape {given}, expected {expected}")
    if pixels.dtype == torch.uint8:
        return pixels
    if pixels.dtype != torch.float32 or not bool(((pixels >= 0) & (pixels <= 1)).all()):  # NaN is neither
        raise AccessError(f"ask: pixels must be {expected}; f32 from 0 to 1")
    return pixels * 255


def _shown(images: Images) -> Answer:
    """Images without ids, which would tell training images from test images."""
    return {"pixels": images.pixels.cpu(), "labels": images.labels.cpu()}
