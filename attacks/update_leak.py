"""Update leak: rebuild the erased image from how the model's outputs on probe images change."""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.decoders import Decoder, RidgeDecoder, VaeDecoder, standardise
from unlearnbench.plugin import Access, Attack, Evidence
from unlearnbench.settings import Level, PluginParams, Scenario
from unlearnbench.view import AttackView


class UpdateLeak(Attack):
    """Decodes delta = after - before on P probe images (Salem et al., section 4; CRFU section 5.1).

    Decoders are trained on shadow erasures, which the adversary carries out on images of her own with the method under
    attack, and scored on the targets' erased images, which she never saw. `best` takes the decoder with the lower
    error on the validation shadows. The label is inferred from delta as well, by ridge classification.
    """

    paper = "Salem et al.: Updates-Leak, USENIX Security 2020"

    class Params(PluginParams):
        observe: Level = Field("representation", description="observation level of the outputs")
        shadows: int = Field(64, ge=10, description="shadow erasures, validation ones included")
        decoder: Literal["best", "vae", "ridge"] = Field("best", description="variational autoencoder or ridge")
        epochs: int = Field(200, ge=1, description="most epochs of training the autoencoder; it stops early")
        code: int = Field(64, ge=1, description="dimensions of the autoencoder's code")
        hidden: int = Field(512, ge=1, description="hidden units of its encoder and decoder")
        lr: float = Field(1e-3, gt=0, description="its learning rate (Adam)")
        kl_weight: float = Field(1e-3, ge=0, description="weight of its KL term, per image")

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
        inputs, targets = standardise(
            _delta(shadow.updates.probe_before, shadow.updates.probe_after),
            _delta(target.probe_before, target.probe_after),
            ~shadow.validation,
        )
        images = shadow.images[:, 0].float().flatten(1) / 255
        decoders: dict[str, Decoder] = {
            "ridge": RidgeDecoder(),
            "vae": VaeDecoder(self.params, view.torch_seed("vae")),
        }
        chosen = list(decoders) if self.params.decoder == "best" else [self.params.decoder]
        for name in chosen:
            decoders[name].fit(inputs, images, shadow.validation)
        best = min((decoders[name] for name in chosen), key=lambda decoder: decoder.validation_error)
        rebuilt = best.predict(targets).clamp(0, 1).view(-1, 1, *view.shape)
        one_hot = torch.nn.functional.one_hot(shadow.labels[:, 0], view.classes).float()
        labels = RidgeDecoder().fit(inputs, one_hot, shadow.validation).predict(targets)
        return Evidence(images=rebuilt, label_scores=labels[:, None])


def _delta(before: Tensor, after: Tensor) -> Tensor:
    """f32[n, P * D]."""
    return (after - before).flatten(1)
