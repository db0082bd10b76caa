"""Update leak: rebuild the erased images from the change of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.autoencoder import VaeDecoder
from unlearnbench.adversary.decoders import RidgeDecoder, average, blend, standardise
from unlearnbench.adversary.set_decoders import Matching, RidgeSetDecoder, VaeSetDecoder, nearest_labels, set_errors
from unlearnbench.adversary.update_features import features, traced
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Level, PluginParams, Scenario, Tier

LARGE = ("resnet18", "plain_resnet18", "torchvision_model", "factory")  # networks of millions of parameters
FEWEST = 2  # least number of shadows with a trace, for training and for validation each
ADVERSARIAL = 0.3  # weight of a GAN's adversarial term
FEWEST_MODELS = 8  # originals of the tier `disjoint`: with four, a naive attack made a leak look like a defence
Decode = Callable[[Tensor, Tensor], Tensor]  # inputs f32[n, R] and labels i64[n, s] -> images f32[n, s, C * H * W]


class Known(NamedTuple):
    """Shadows that left a trace: what they erased, which labels are inferred for it, and which of them validate."""

    images: Tensor  # f32[n, s, C * H * W]
    labels: Tensor  # i64[n, s]
    inferred: Tensor  # i64[n, s]
    validation: Tensor  # bool[n]


class UpdateLeak(Attack):
    """Decodes delta = after - before on P probe images (Salem et al., section 4; CRFU section 5.1).

    Decoders are trained on shadow erasures, which the adversary carries out on images of her own with the method under
    attack, and scored on the targets' erased images, which she never saw. Three things make it stronger than feeding
    delta to a network. Each delta is scaled to length 1, since how far an image moves the model varies by orders of
    magnitude. The matrix delta[P, D] of one erased image is close to rank one, (what each probe has in common with the
    image) x (a direction set by its label): `factor` features are its left singular vector, which holds the image
    without the signs that change with the label. And a delta within rounding of zero is set apart: it holds no image,
    and would be noise to the decoders. `best` averages the features and decoders with the lowest error on the
    validation shadows.

    The labels are inferred by ridge regression of their counts. For a set of erased images, one image is decoded for
    each inferred label. In the tier `disjoint`, representations are first aligned with the target's (`procrustes`).
    """

    version = 2
    paper = "Salem et al.: Updates-Leak, USENIX Security 2020"
    ranks_by = ("skill_mean", "label_accuracy")

    class Params(PluginParams):
        observe: Level = Field("representation", description="observation level of the outputs")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        tier: Tier = Field("same", description="disjoint: shadows start from originals of the adversary's own")
        shadow_models: int = Field(8, ge=FEWEST_MODELS, description="number of those originals")
        features: Literal["best", "factor", "delta"] = Field(
            "best", description="left singular vectors of each delta, or all of it"
        )
        decoder: Literal["best", "vae", "ridge", "gan"] = Field(
            "best", description="variational autoencoder, ridge, or the autoencoder as generator of a conditional GAN"
        )
        adversarial: float = Field(
            ADVERSARIAL,
            gt=0,
            exclude_if=lambda value: value == ADVERSARIAL,
            description="decoder `gan`: weight of its adversarial term, per image or set",
        )  # written out only where it is set, so that keys of before it existed stand
        network: Literal["auto", "dense", "convolutional"] = Field(
            "auto", description="the autoencoder's decoder; auto: convolutional for colour and large images"
        )
        epochs: int = Field(100, ge=1, description="most epochs of training an autoencoder; it stops early")
        members: int = Field(2, ge=1, description="autoencoders, each of another seed, averaged")
        code: int = Field(64, ge=1, description="dimensions of the autoencoder's code")
        hidden: int | None = Field(
            None, ge=1, description="hidden units of its encoder and decoder; null: as many as shadows, 64 to 1,024"
        )
        lr: float = Field(2e-3, gt=0, description="its learning rate (Adam)")
        kl_weight: float = Field(0.01, ge=0, description="weight of its KL term, per image")
        matching: Matching = Field(
            "hungarian", description="of a set's images in the autoencoder's loss: one to one, or the nearest for each"
        )
        clusters: bool = Field(
            False, description="sets: the evidence is centroids of images that the autoencoder draws (Salem et al.)"
        )
        draws: int = Field(100, ge=2, description="codes drawn for each update when clustering")

        @model_validator(mode="after")
        def _consistent(self) -> Self:
            if self.tier == "same":
                self.refuse(["shadow_models"], "tier 'same'")
            if self.decoder != "gan":
                self.refuse(["adversarial"], f"decoder '{self.decoder}'")
            if not self.clusters:
                self.refuse(["draws"], "an attack without clusters")
            elif self.decoder == "ridge":
                raise ValueError("clusters are of images that the autoencoder draws; decoder 'ridge' draws none")
            return self

    @property
    def access(self) -> Access:
        models = self.params.shadow_models if self.params.tier == "disjoint" else 0
        return Access(
            level=self.params.observe, shadows=self.params.shadows, tier=self.params.tier, shadow_models=models
        )

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "update_leak needs a leak experiment"
        if self.params.observe == "parameters" and scenario.network.name in LARGE:
            return f"update_leak can't keep the parameters of thousands of {scenario.network.name}"
        if self.params.clusters and scenario.erased_count == 1:
            return "update_leak clusters the images of sets; erased_count is 1"
        return None

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        size = shadow.labels.shape[1]
        images, counts = shadow.images.float().flatten(2) / 255, F.one_hot(shadow.labels, view.classes).sum(1).float()
        left, asked = traced(shadow.updates), traced(target)
        # Erasures without a trace are answered with the mean of shadows without a trace.
        alike = ~left if bool((~left).any()) else left
        rebuilt = images[alike].mean((0, 1)).repeat(len(asked), size, 1)
        scores = counts[alike].mean(0).repeat(len(asked), 1)
        validation = shadow.validation[left]
        if asked.any() and min(int(validation.sum()), int((~validation).sum())) >= FEWEST:
            kinds, of_labels = features(shadow, target, self.params.observe, self.params.tier)
            inputs, targets = standardise(of_labels[0][left], of_labels[1][asked], ~validation)
            ridge = RidgeDecoder(inputs, counts[left], validation)
            scores[asked] = ridge.predict(targets)
            known = Known(images[left], shadow.labels[left], nearest_labels(ridge.predict(inputs), size), validation)
            pairs = {
                kind: standardise(mine[left], theirs[asked], ~validation) for kind, (mine, theirs) in kinds.items()
            }
            rebuilt[asked] = self._rebuild(pairs, known, nearest_labels(scores[asked], size), view)
        # In a set each image was decoded for a label, and claims it; for one image all scores are useful.
        slots = F.one_hot(nearest_labels(scores, size), view.classes).float() if size > 1 else scores[:, None]
        return Evidence(images=rebuilt.clamp(0, 1).view(-1, size, *view.shape), label_scores=slots)

    def _rebuild(
        self, pairs: dict[str, tuple[Tensor, Tensor]], known: Known, labels: Tensor, view: AttackView
    ) -> Tensor:
        """Images f32[T, s, C * H * W] of targets with inferred labels i64[T, s], by the best decoders."""
        rows = known.validation
        answers: list[tuple[Tensor, Tensor]] = []

        def error(predicted: Tensor) -> float:
            return float(set_errors(predicted, known.images[rows]).mean())

        def answer(kind: str, fit: Callable[..., Decode], *seed: int) -> tuple[Tensor, Tensor]:
            """A decoder's predictions for the validation shadows and for the targets."""
            inputs, asked = pairs[kind]
            predict = fit(inputs, known, view, *seed)
            return predict(inputs[rows], known.inferred[rows]), predict(asked, labels)

        # Ridge takes a second: autoencoders are trained only on the features that ridge does best with.
        ridges = {kind: answer(kind, self._ridge) for kind in pairs if self.params.features in ("best", kind)}
        if self.params.decoder in ("best", "ridge") and not self.params.clusters:
            answers += ridges.values()
        if self.params.decoder != "ridge":
            kind = min(ridges, key=lambda kind: error(ridges[kind][0]))
            for member in range(self.params.members):
                answers.append(answer(kind, self._vae, view.torch_seed("vae", kind, str(member))))
        chosen = blend([own for own, _ in answers], error)
        return average([answers[index][1] for index in chosen])

    def _ridge(self, inputs: Tensor, known: Known, view: AttackView) -> Decode:
        if known.images.shape[1] > 1:
            return RidgeSetDecoder(
                inputs, known.images, known.labels, known.inferred, known.validation, view.classes
            ).predict
        single = RidgeDecoder(inputs, known.images[:, 0], known.validation)
        return lambda asked, _: single.predict(asked)[:, None]

    def _vae(self, inputs: Tensor, known: Known, view: AttackView, seed: int) -> Decode:
        adversarial = self.params.adversarial if self.params.decoder == "gan" else 0.0
        if known.images.shape[1] > 1:
            draws = self.params.draws if self.params.clusters else 0
            return VaeSetDecoder(
                self.params, self.params.matching, draws, view.shape, seed,
                inputs, known.images, known.labels, known.inferred, known.validation, view.classes,
                adversarial,
            ).predict  # fmt: skip
        single = VaeDecoder(self.params, view.shape, seed, inputs, known.images[:, 0], known.validation, adversarial)
        return lambda asked, _: single.predict(asked)[:, None]
