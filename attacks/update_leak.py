"""Update leak: rebuild the erased image from how the model's outputs on probe images change."""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.decoders import Decoder, RidgeDecoder, VaeDecoder, standardise
from unlearnbench.plugin import Access, Attack, Evidence, Updates
from unlearnbench.settings import Level, PluginParams, Scenario
from unlearnbench.view import AttackView

# An output's last bits differ between two ways of computing it; a change of a few of them is no trace of anything.
ROUNDING = 4 * torch.finfo(torch.float32).eps
FEWEST = 2  # shadows with a trace, for training and for validation each, to learn anything from


class UpdateLeak(Attack):
    """Decodes delta = after - before on P probe images (Salem et al., section 4; CRFU section 5.1).

    Decoders are trained on shadow erasures, which the adversary carries out on images of her own with the method under
    attack, and scored on the targets' erased images, which she never saw. Three things make it stronger than feeding
    delta to a network. Each delta is scaled to length 1: how far an image moves the model varies by orders of magnitude
    with how sure the model is of it. The matrix delta[P, D] of one erased image is close to rank one, (what each probe
    has in common with the image) x (a direction set by its label): `factor` features are its left singular vector,
    which holds the image without the label's changing signs. And a delta within rounding of zero is set apart: it holds
    no image, and would be noise to the decoders. `best` takes the features and the decoder with the lowest error on the
    validation shadows. The label is inferred as well, by ridge classification of delta.
    """

    paper = "Salem et al.: Updates-Leak, USENIX Security 2020"

    class Params(PluginParams):
        observe: Level = Field("representation", description="observation level of the outputs")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        features: Literal["best", "factor", "delta"] = Field(
            "best", description="left singular vector of each delta, or all of it"
        )
        decoder: Literal["best", "vae", "ridge"] = Field("best", description="variational autoencoder or ridge")
        epochs: int = Field(200, ge=1, description="most epochs of training the autoencoder; it stops early")
        code: int = Field(64, ge=1, description="dimensions of the autoencoder's code")
        hidden: int = Field(512, ge=1, description="hidden units of its encoder and decoder")
        lr: float = Field(1e-3, gt=0, description="its learning rate (Adam)")
        kl_weight: float = Field(0.01, ge=0, description="weight of its KL term, per image")

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, shadows=self.params.shadows)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "update_leak needs a leak experiment"
        if scenario.erased_count != 1:
            return "update_leak rebuilds single erased images; erased_count is larger"
        return None

    def run(self, view: AttackView) -> Evidence:
        shadow, target = view.shadow_updates(), view.updates()
        images, labels = shadow.images[:, 0].float().flatten(1) / 255, F.one_hot(shadow.labels[:, 0], view.classes)
        traced, asked = _traced(shadow.updates), _traced(target)
        rebuilt, scores = (_without_trace(known.float(), traced, len(asked)) for known in (images, labels))
        validation = shadow.validation[traced]
        if asked.any() and min(int(validation.sum()), int((~validation).sum())) >= FEWEST:
            known, unknown = _unit_deltas(shadow.updates)[traced], _unit_deltas(target)[asked]
            rebuilt[asked] = self._rebuild(known, unknown, images[traced], validation, view)
            inputs, targets = standardise(known.flatten(1), unknown.flatten(1), ~validation)
            scores[asked] = RidgeDecoder().fit(inputs, labels[traced].float(), validation).predict(targets)
        return Evidence(images=rebuilt.clamp(0, 1).view(-1, 1, *view.shape), label_scores=scores[:, None])

    def _rebuild(self, known: Tensor, unknown: Tensor, images: Tensor, validation: Tensor, view: AttackView) -> Tensor:
        """Images of unknown deltas f32[T, P, D] by the best decoder of known ones, f32[T, C * H * W]."""
        kinds = list(_FEATURES) if self.params.features == "best" else [self.params.features]
        names = ["ridge", "vae"] if self.params.decoder == "best" else [self.params.decoder]
        lowest, best = float("inf"), images.mean(0).expand(len(unknown), -1)
        for kind in kinds:
            inputs, targets = standardise(_FEATURES[kind](known), _FEATURES[kind](unknown), ~validation)
            for name in names:
                decoder: Decoder = RidgeDecoder()
                if name == "vae":
                    decoder = VaeDecoder(self.params, view.torch_seed("vae", kind))
                decoder.fit(inputs, images, validation)
                if decoder.validation_error < lowest:
                    lowest, best = decoder.validation_error, decoder.predict(targets)
        return best


def _traced(updates: Updates) -> Tensor:
    """Which erasures changed the outputs by more than rounding, bool[n]."""
    change = torch.linalg.vector_norm((updates.probe_after - updates.probe_before).flatten(1), dim=1)
    traced: Tensor = change > ROUNDING * torch.linalg.vector_norm(updates.probe_before.flatten(1), dim=1)
    return traced


def _without_trace(known: Tensor, traced: Tensor, count: int) -> Tensor:
    """The answer for erasures that left no trace: the mean of shadows that left none either, f32[count, M]."""
    alike = known[~traced] if bool((~traced).any()) else known
    return alike.mean(0).repeat(count, 1)


def _unit_deltas(updates: Updates) -> Tensor:
    """Deltas f32[n, P, D] of length 1."""
    delta = updates.probe_after - updates.probe_before
    length: Tensor = torch.linalg.vector_norm(delta, dim=(1, 2), keepdim=True)
    unit: Tensor = delta / length.clamp_min(torch.finfo(torch.float32).tiny)
    return unit


def _factor(deltas: Tensor) -> Tensor:
    """First left singular vector of each delta, f32[n, P]; its sign is free and taken so that its sum is positive."""
    left = torch.linalg.svd(deltas, full_matrices=False)[0][:, :, 0]
    signed: Tensor = left * torch.where(left.sum(1) < 0, -1.0, 1.0)[:, None]
    return signed


_FEATURES: dict[str, Callable[[Tensor], Tensor]] = {"factor": _factor, "delta": lambda deltas: deltas.flatten(1)}
