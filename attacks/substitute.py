"""Substitute: both models are copied from their answers, and the copies are inverted in their place."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.models.optimisers import optimiser
from unlearnbench.models.plain_network import PlainNetwork
from unlearnbench.models.stack import Functional, Stack
from unlearnbench.plugin import Access, AttackView, Evidence, Level, Scenario

from .unlearning_inversion import UnlearningInversion

LR = {"adam": 0.01, "sgd": 0.1}
ROUNDING = 1e-6  # probabilities that differ by less are equal


class Substitute(UnlearningInversion):
    """Papernot et al.: a model that is seen by its answers only is replaced by a copy trained on them.

    A small network of the adversary's own is trained on her images with the answers of the model before unlearning.
    From there one copy for each target goes on with the answers of its model after, and one more with those before,
    which shows what going on does by itself. The difference of the two is inverted as `unlearning_inversion` inverts
    that of the weights. Their substitutes see labels only, and synthesise images at the boundary; these learn from
    whatever `observe` shows about images that she has.
    """

    version = 1
    paper = "Papernot, McDaniel, Goodfellow, Jha, Celik, Swami: Practical Black-Box Attacks, AsiaCCS 2017"

    class Params(UnlearningInversion.Params):
        observe: Level = Field("log_probabilities", description="observation level of the answers")
        images: int = Field(400, ge=1, description="images asked about, before and after; fewer if she holds fewer")
        hidden: int = Field(64, ge=0, description="hidden units of the copies; 0: softmax regression")
        fit: int = Field(500, ge=1, description="steps of Adam that train the first copy, on all answers at a time")
        further: int = Field(300, ge=1, description="steps of gradient descent from there")
        optimiser: Literal["adam", "sgd"] = Field("sgd", description="of the simulated erasure, as the copies' own")

        @model_validator(mode="after")
        def _of_answers(self) -> Self:
            if self.observe in ("parameters", "representation"):
                raise ValueError(f"copies learn from probabilities or labels, not at level {self.observe}")
            return self

    @property
    def access(self) -> Access:
        return Access(level=self.params.observe, budget=2 * self.params.images)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "substitute needs a leak experiment"
        if scenario.erased_count != 1:
            return f"substitute rebuilds one image; erased_count is {scenario.erased_count}"
        return None

    def run(self, view: AttackView) -> Evidence:
        images = view.auxiliary.pixels[: self.params.images]
        before, after = (self._probabilities(view.ask(which, images)) for which in ("before", "after"))
        model, copies = self.copies(images.float() / 255, before[:1], after, view)
        moved = (after - before[:1]).abs().flatten(1).amax(1) > ROUNDING
        change = {
            name: (value[1:] - value[:1]) * moved.view(-1, *(1,) * (value.dim() - 1))
            for name, value in copies.params.items()
        }
        return self.answer(view, model, change, view.updates().candidate_labels[:, :1])

    def copies(self, images: Tensor, before: Tensor, after: Tensor, view: AttackView) -> tuple[Stack, Stack]:
        """The copy of the model before, and T + 1 that went on from there: with its answers again, and with those of
        the models after.

        Args:
            images: f32[n, C, H, W].
            before, after: probabilities f32[1, n, Y] and f32[T, n, Y].
        """
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(images[0].numel(), self.params.hidden or view.classes)]
        if self.params.hidden:
            layers += [nn.ReLU(), nn.Linear(self.params.hidden, view.classes)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(view.torch_seed("copy"))
            for layer in layers:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
        model = trained(Stack.of([PlainNetwork(nn.Sequential(*layers))]), images, before, "adam", self.params.fit)
        answers = torch.cat([before, after])
        return model, trained(model.expand(len(answers)), images, answers, "sgd", self.params.further)

    def _probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.exp() if self.params.observe == "log_probabilities" else outputs


def trained(models: Stack, images: Tensor, answers: Tensor, how: Literal["adam", "sgd"], steps: int) -> Stack:
    """K models after steps on their cross-entropy with probabilities f32[K, n, Y] for images f32[n, C, H, W]."""
    router, used = models.router(training=False), optimiser(how, LR[how])
    params = {name: value.clone() for name, value in models.params.items()}

    def loss(params: dict[str, Tensor], answers: Tensor) -> Tensor:
        return F.cross_entropy(Functional(router, params, {})(images), answers)

    for _ in range(steps):
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        total = torch.func.vmap(loss)(leaves, answers).sum()
        used.step(params, torch.autograd.grad(total, list(leaves.values())))
    return models.with_tensors(params)
