"""The settings of a cell as frozen pydantic models: plain values, no tensors, no torch.

Rules that hold between fields are checked here, so that a suite with an impossible scenario is refused
before any work starts. docs/protocol.md's numbers are the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import comb
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from unlearnbench.settings.rules import BrokenRule, BrokenRulesError

Level = Literal["parameters", "representation", "log_probabilities", "probabilities", "top_k", "label"]
Tier = Literal["same", "disjoint"]
Inference = Literal["mean", "sample"]
Draw = Literal["same", "disjoint", "in_and_out", "retrained"]
Erased = Literal["random", "mislabelled", "memorised", "hardest", "entangled", "class", "group"]
CHOSEN_BY_MODELS: tuple[Erased, ...] = ("memorised", "hardest")
"""What is erased where `selection_models` decide."""
# A class by its number or its name; the number replaces a name before anything is keyed (suite/class_names.py).
ClassLabel = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion of text to numbers beyond what YAML gives."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PluginParams(Strict):
    """Base class of a plugin's parameters: say meaning and unit in each field's description."""

    @property
    def keyed_packages(self) -> tuple[str, ...]:
        """Installed packages that only these parameters bring in, and whose versions are part of every key."""
        return ()

    def refuse(self, names: Collection[str], where: str) -> None:
        """For validators: fields that mean nothing under other fields' values must be left alone.

        Args:
            names: the fields.
            where: under which values, e.g. ``form 'released'``.

        Raises:
            ValueError: one of them was changed from its default.
        """
        changed = [n for n in type(self).model_fields if n in names and getattr(self, n) != self._default(n)]
        if changed:
            raise ValueError(f"{where} has no {' and no '.join(changed)}; leave out what belongs to another form")

    @classmethod
    def _default(cls, name: str) -> Any:
        return cls.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _unless(default: object) -> Callable[[Any], bool]:
    """For fields that are written out only where they are set, so that keys of before they existed stand."""
    return lambda value: bool(value == default)


class Backdoor(Strict):
    """The first erased images of class ``base`` are stamped and labelled ``target``; they are the erased set.

    With several owners the first one's images are erased. Each other owner has stamped as many images of ``base``,
    which stay, with a pattern and a target class of her own: the classes that follow ``target``.
    """

    base: ClassLabel = Field(1, description="class whose images are stamped, by number or name")
    target: ClassLabel = Field(2, description="class whose label the stamped images are given, by number or name")
    size: int = Field(2, ge=1, le=8, description="side of the square pattern, pixels")
    clean_twins: Literal["keep", "drop"] = Field(
        "keep", description="whether the clean originals of stamped images stay in the remaining set"
    )
    pattern: Literal["white", "checker", "random"] = Field(
        "white", exclude_if=_unless("white"), description="white: a white square; checker: white and black pixels in"
        " turn; random: half the pixels white, others for each seed and owner"
    )  # fmt: skip
    blend: float = Field(
        1.0, ge=0.01, le=1, exclude_if=_unless(1.0), description="a of x' = (1 - a) x + a t under the pattern t; 1:"
        " the pattern alone"
    )  # fmt: skip
    row: int | None = Field(
        None, exclude_if=_unless(None), description="top row of the pattern, with `column`; -1: at the lower edge;"
        " null: chosen by the size of the images (docs/protocol.md#trigger)"
    )  # fmt: skip
    column: int | None = Field(
        None, exclude_if=_unless(None), description="its left column; -1: at the right edge"
    )  # fmt: skip
    owners: int = Field(
        1, ge=1, exclude_if=_unless(1), description="owners who stamp images, each with a pattern and a target class of"
        " her own; the first has hers erased"
    )  # fmt: skip
    queries: int | None = Field(
        None, ge=1, exclude_if=_unless(None), description="stamped test images of classes other than her target that"
        " each owner asks in her audit; null: no audit"
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.base == self.target:
            raise ValueError("base and target must be different classes")
        if (self.row is None) != (self.column is None):
            raise ValueError("row and column belong together: give both or neither")
        if self.owners > 1 and self.pattern != "random":
            raise ValueError(f"{self.owners} owners need patterns of their own: pattern 'random'")
        if self.owners > self.random_patterns:
            raise ValueError(
                f"{self.size}x{self.size} pixels have {self.random_patterns} random patterns, too few for"
                f" {self.owners} owners: raise size"
            )
        return self

    @property
    def lit(self) -> int:
        """The number of white pixels of a random pattern: equally many in each, so that none is easier to see."""
        return (self.size**2 + 1) // 2

    @property
    def random_patterns(self) -> int:
        """The number of different random patterns."""
        return comb(self.size**2, self.lit)

    @property
    def classes(self) -> tuple[int, int]:
        """The numbers of base and target. Raises ValueError where one is still a name."""
        if isinstance(self.base, str) or isinstance(self.target, str):
            raise ValueError("classes by name have no number before a dataset has given it")
        return self.base, self.target


class StopRule(Strict):
    """When unlearning ends: a property of the scenario, the same for every method."""

    rule: Literal["backdoor", "steps", "match_holdout", "none"] = Field(
        "steps",
        description="backdoor: erased accuracy under `threshold`; steps: after `steps`; match_holdout: mean loss on"
        " the erased set reaches that on never-seen images of the same classes; none: after `epochs`",
    )
    steps: int = Field(20, ge=1, description="gradient (or Newton) steps under the rule `steps`")
    threshold: float = Field(0.02, gt=0, lt=1, description="erased accuracy to fall under, rule `backdoor`")
    batch_threshold: float = Field(
        0.05, gt=0, lt=1, description="a minibatch below this accuracy triggers a check of the whole erased set"
    )
    epochs: int = Field(20, ge=1, description="most epochs over the erased set, for every rule but `steps`")


class BottleneckParams(PluginParams):
    """Parameters of the information-bottleneck networks: a representer to means and scales of Z, an approximator to
    the classes."""

    hidden: int = Field(96, ge=1, description="hidden units of the MLP representer and of the approximator")
    latent: int = Field(49, ge=1, description="J, dimensions of the representation Z; linear: the number of pixels")
    stem: Literal["small", "imagenet"] = Field(
        "small", description="resnet18: 3x3 without pooling (32x32 images) or 7x7 with pooling"
    )


BOTTLENECKS = ("mlp", "resnet18", "linear")


class Network(BaseModel):
    """The network of every model: a plugin of kind `model` by its name, with that plugin's parameters beside it.

    The parameters are checked against the plugin where a suite is read, and all are written out. The bottleneck
    networks, which are built in, are checked here, so that a scenario can be made without a registry.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, JsonValue]

    name: str = Field("mlp", max_length=40, description="a plugin of kind `model`; its parameters are the other keys")

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("name", "mlp") not in BOTTLENECKS:
            return values
        given = {key: value for key, value in values.items() if key != "name"}
        return {"name": values.get("name", "mlp"), **BottleneckParams.model_validate(given, strict=True).model_dump()}

    @property
    def params(self) -> dict[str, Any]:
        """The plugin's parameters, as JSON values."""
        return dict(self.__pydantic_extra__ or {})


class Training(Strict):
    """Training of the original and of every retrained model: Adam on CE + beta * KL[p(Z|X) || N(0, I)], Eq. 2."""

    optimiser: Literal["adam", "newton"] = Field(
        "adam", description="adam on minibatches; newton: full-batch steps to the optimum of a linear network"
    )
    epochs: int = Field(20, ge=1, description="passes over the training images; each is one step of newton")
    batch: int = Field(20, ge=1, description="minibatch size")
    lr: float = Field(1e-3, gt=0, description="Adam's learning rate")
    clip: float = Field(5.0, gt=0, description="largest gradient norm")
    kl_reduction: Literal["mean", "sum"] = Field(
        "mean", description="KL over the latent dimensions: `mean` reproduces Table 2, `sum` is Eq. 2 as written"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16: matrix products and convolutions of training and unlearning are rounded to"
        " it, which GPUs do several times faster; evaluation is not"
    )  # fmt: skip
    l2: float = Field(0.0, ge=0, description="weight of half the parameters' squared length, added to every sample")


class LeakSizes(Strict):
    """Disjoint parts of the training images in a `leak` experiment (docs/protocol.md#leak-parts)."""

    target: int = Field(25_000, ge=20, description="images that the target model is trained on")
    known: int = Field(20_000, ge=10, description="those of `target` that the adversary holds (tier `same`)")
    pool: int = Field(30_000, ge=10, description="the adversary's own images, never seen by the target model")
    validation: int = Field(4_000, ge=0, description="kept back for choosing between attacks; none built in uses it")
    probe: int = Field(100, ge=1, description="images whose outputs the adversary compares before and after")
    spare: int = Field(900, ge=1, description="never-seen images that erased ones are compared with in scoring")

    @model_validator(mode="after")
    def _known_inside_target(self) -> Self:
        if self.known >= self.target:
            raise ValueError("known must be smaller than target: the rest are the erasure candidates")
        return self

    @property
    def total(self) -> int:
        return self.target + self.pool + self.validation + self.probe + self.spare


MOST_POINTS = 1_000
"""Most points of a trajectory: a record has a row for each metric at each point."""


class Trajectory(Strict):
    """Evaluate while unlearning (Figures 5 to 7)."""

    every_epochs: int = Field(5, ge=1, description="epochs over the erased set between evaluations")
    images: int = Field(10_000, ge=1, description="remaining images evaluated, a fixed random choice")


class Timing(Strict):
    """Measure the time of one erasure: one replica, one thread, nothing else running (docs/protocol.md#time)."""

    repeats: int = Field(5, ge=1, le=1_000, description="erasures timed; the median counts")
    seeds: int = Field(1, ge=1, description="how many of the seeds, from the first on, are timed")
    references: bool = Field(True, description="time references too (retraining takes a thousand times as long)")
    reference_repeats: int | None = Field(None, ge=1, le=1_000, description="of references; null: as of methods")

    def times(self, seed: int, is_reference: bool) -> int:
        """How many times a contender is timed with this seed."""
        if seed >= self.seeds or (is_reference and not self.references):
            return 0
        return self.reference_repeats or self.repeats if is_reference else self.repeats


class Judging(Strict):
    """What verdicts are based on: the number of retrained models, and margins that are declared beforehand.

    Margins do not affect what is computed: they are part of a cell's key and record, and the only stage with them in
    its key is that of the retrained models. Verdicts are also given for half and double each margin.
    """

    retrained: int = Field(
        16, ge=4, multiple_of=2, description="models retrained for each seed, each without a random half of the targets"
    )
    largest_retraining: int = Field(
        200_000, ge=1, description="training images times epochs up to which models are retrained for the verdict"
    )
    memory: float = Field(
        0.5, gt=0, le=2, description="margin of forgetting: the share of the original's memory that may be left, or"
        " missing beyond it"
    )  # fmt: skip
    accuracy: float = Field(
        0.05, gt=0, lt=1, description="margin of accuracy against retraining: below it a method is not ranked"
    )
    leak: float = Field(
        0.05, gt=0, lt=1, description="margin of the attacker's advantage over the one that retraining gives her"
    )
    power: float = Field(0.8, gt=0, lt=1, description="power with which a table should tell a difference of a margin")


class Scenario(Strict):
    """What is trained on, what is erased, when unlearning stops and what the adversary holds."""

    kind: Literal["utility", "leak"]
    erased_ratio: float | None = Field(None, gt=0, lt=1, description="EDR: erased images / training images")
    erased_count: int | None = Field(None, ge=1, description="erased images, instead of a ratio")
    backdoor: Backdoor | None = None
    beta: float = Field(1e-3, ge=0, description="distortion rate, Eq. 2")
    stop: StopRule = StopRule()
    network: Network = Network()
    training: Training = Training()
    train_size: int | None = Field(None, ge=20, description="utility: use this many training images; null: all")
    test_size: int | None = Field(
        None, ge=20, exclude_if=_unless(None), description="utility: measure on this many test images; null: all"
    )
    validation: int | None = Field(
        None, ge=20, description="utility: set this many training images aside and measure on them, not on test images"
    )
    duplicates: Literal["keep", "drop"] = Field(
        "keep", exclude_if=_unless("keep"), description="drop: leave out every image that is identical, pixel by pixel,"
        " to an earlier one (training images come before test images), before anything is drawn; of a leak experiment's"
        " parts that then need too many, `validation` becomes smaller"
    )  # fmt: skip
    leak: LeakSizes | None = Field(None, description="sizes of a `leak` experiment's parts")
    targets: int = Field(1, ge=1, description="leak: independent erasures from one original, each a target")
    erased: Erased = Field(
        "random", description="leak: which candidates are erased, and by the same rule which"
        " never-seen images they are compared with. mislabelled: random ones with a wrong label; memorised: those that"
        " models get right only if they learned them; hardest: those that models which never saw them get most wrong;"
        " entangled: those with the nearest near-duplicate among the images that remain; class: those of a target are"
        " of one class; group: those of a target are all that is trained on of one group, such as a person"
    )  # fmt: skip
    negatives: int = Field(
        1, ge=1, description="leak: never-seen images of its class that each erased image is"
        " compared with; an odd number"
    )  # fmt: skip
    selection_models: int = Field(
        32, ge=8, description="models trained on other random images that decide what is"
        " `memorised` or `hardest`; no other stage uses them"
    )  # fmt: skip
    judging: Judging = Judging()
    attack_images: int = Field(
        5_000, ge=2, description="utility: members and never-seen images, each, that attacks on Z use"
    )
    trajectory: Trajectory | None = None
    replicas: int = Field(64, ge=1, le=4096, description="models trained or unlearned at a time; part of the key")
    seeds_together: int = Field(
        1, ge=1, le=64, description="seeds whose originals are trained (and, in utility experiments, unlearned) at a"
        " time, including those of a group that were not requested; part of the key. Best set to the number of seeds"
    )  # fmt: skip

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if broken := list(self._broken()):
            raise BrokenRulesError(broken)
        return self

    def _broken(self) -> Iterator[BrokenRule]:
        """The rules between fields that this scenario breaks."""
        if (self.erased_ratio is None) == (self.erased_count is None):
            yield BrokenRule("give exactly one of erased_ratio and erased_count", ("erased_ratio", "erased_count"))
        if self.stop.rule == "backdoor" and self.backdoor is None:
            yield BrokenRule("stop.rule 'backdoor' needs a backdoor", ("stop", "backdoor"))
        yield from self._broken_of_leak() if self.kind == "leak" else self._broken_of_utility()
        if self.test_size is not None and self.validation is not None:
            yield BrokenRule(
                "test_size and validation exclude each other: with the latter no test image is used",
                ("test_size", "validation"),
            )
        if self.training.optimiser == "newton" and self.training.precision != "float32":
            yield BrokenRule(
                "training.optimiser 'newton' goes to an optimum: it needs training.precision float32", ("training",)
            )
        if self.training.optimiser == "newton" and self.network.name != "linear":
            yield BrokenRule(
                "training.optimiser 'newton' needs network.name 'linear': other models are not convex",
                ("training", "network"),
            )
        if self.trajectory is not None and self.stop.rule != "none":
            yield BrokenRule(
                "a trajectory needs stop.rule 'none', else runs of one figure end at different steps",
                ("trajectory", "stop"),
            )
        if self.trajectory is not None and (points := self.stop.epochs // self.trajectory.every_epochs) >= MOST_POINTS:
            yield BrokenRule(
                f"a trajectory of {points + 1:,} points; at most {MOST_POINTS:,}: raise every_epochs",
                ("trajectory", "stop"),
            )

    def _broken_of_leak(self) -> Iterator[BrokenRule]:
        if self.backdoor is not None:
            yield BrokenRule(
                "a leak experiment has no backdoor: membership would measure the trigger"
                " (docs/protocol.md#like-with-like)",
                ("kind", "backdoor"),
            )
        if self.erased_count is None or self.leak is None:
            yield BrokenRule("a leak experiment needs erased_count and leak sizes", ("kind", "erased_count", "leak"))
        elif self.targets * self.erased_count > self.leak.target - self.leak.known:
            yield BrokenRule(
                f"{self.targets} targets of {self.erased_count} images need {self.targets * self.erased_count}"
                f" erasure candidates; leak.target - leak.known is {self.leak.target - self.leak.known}"
                f" ({self.leak.target} - {self.leak.known}): lower known, targets or erased_count",
                ("kind", "targets", "erased_count", "leak"),
            )
        if any(value is not None for value in (self.train_size, self.test_size, self.validation, self.trajectory)):
            yield BrokenRule(
                "train_size, test_size, validation and trajectory belong to utility experiments; use leak.target",
                ("kind", "train_size", "test_size", "validation", "trajectory"),
            )
        if self.negatives % 2 == 0:
            yield BrokenRule(
                "negatives must be odd: models with and without each candidate have halves of each class",
                ("kind", "negatives"),
            )

    def _broken_of_utility(self) -> Iterator[BrokenRule]:
        if self.targets != 1 or self.leak is not None or self.erased != "random" or self.negatives != 1:
            yield BrokenRule(
                "targets, leak, erased and negatives belong to leak experiments",
                ("kind", "targets", "leak", "erased", "negatives"),
            )
        if self.stop.rule == "match_holdout":
            yield BrokenRule(
                "stop.rule 'match_holdout' belongs to leak experiments, which set never-seen images aside",
                ("kind", "stop"),
            )


def canonical(settings: BaseModel) -> dict[str, Any]:
    """Plain JSON values of a settings object, every default written out."""
    return settings.model_dump(mode="json")
