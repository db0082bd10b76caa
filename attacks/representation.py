"""The paper's Table 2 attacks, on the representation of single images."""

import itertools
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from unlearnbench.metrics.membership import auc
from unlearnbench.models.optimisers import Adam
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, Measured, PluginParams


class Representation(Attack):
    """A decoder Z -> X (MSE) and a classifier Z -> member or not (AUC), CRFU section 6.2.

    The paper trains and scores both on the same images; `auc_on_attack_training_data` is that number. The other metrics
    use held-out images. No erased image is involved: the members are remaining training images. With `model: before`,
    which is what the released code runs, not even an unlearned model is involved.
    """

    paper = "Wang et al.: CRFU, 2024, Table 2"
    ranks_by = ()

    class Params(PluginParams):
        model: Literal["after", "before"] = Field("after", description="the model whose representation is attacked")
        epochs: int = Field(40, ge=1, description="epochs of training the decoder and the classifier")
        batch: int = Field(20, ge=1, description="minibatch size")
        lr: float = Field(1e-3, gt=0, description="Adam's learning rate")
        hidden: int = Field(96, ge=1, description="hidden units of both networks")

    @property
    def access(self) -> Access:
        return Access(level="representation", members=True)

    def run(self, view: AttackView) -> Evidence:
        images, membership = view.known()
        hidden = view.challenge()
        observe = view.after if self.params.model == "after" else view.before
        z = observe(images)
        centre, scale = z.mean(0), z.std(0).clamp_min(1e-6)
        asked = (observe(hidden) - centre) / scale
        epochs = ((answer - centre) / scale for answer in self.answers(z, lambda: observe(images)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(view.torch_seed("networks"))
            rebuilt, _ = self._fit(epochs, images.scaled.cpu().flatten(1), asked, F.mse_loss, final=nn.Sigmoid())
            target = membership.float()[:, None]
            scores, seen = self._fit(epochs, target, asked, F.binary_cross_entropy_with_logits, final=nn.Identity())
        return Evidence(
            images=rebuilt.view(-1, *view.shape),
            membership=torch.sigmoid(scores[:, 0]),
            threshold=0.5,
            subject="challenge",
            metrics={"auc_on_attack_training_data": Measured(_accumulated_auc(seen), len(membership))},
        )

    def answers(self, first: Tensor, ask: Callable[[], Tensor]) -> Iterator[Tensor]:
        """Z of the known images for each epoch of training: `first` every time."""
        return itertools.repeat(first)

    def _fit(
        self, epochs: Iterator[Tensor], y: Tensor, asked: Tensor, loss: object, final: nn.Module
    ) -> tuple[Tensor, Tensor]:
        """Answers for `asked`, and the (score, target) pairs of the last epoch's training batches, f32[n, 2]."""
        network = nn.Sequential(
            nn.Linear(asked.shape[1], self.params.hidden), nn.ReLU(), nn.Linear(self.params.hidden, y.shape[1]), final
        )
        adam, params, seen = Adam(self.params.lr), dict(network.named_parameters()), []
        for epoch in range(self.params.epochs):
            x = next(epochs)
            for rows in torch.randperm(len(x)).split(self.params.batch):
                answer = network(x[rows])
                value = loss(answer, y[rows])  # type: ignore[operator]
                adam.step(params, torch.autograd.grad(value, list(params.values())))
                if epoch == self.params.epochs - 1:
                    seen.append(torch.stack([answer.detach()[:, 0], y[rows][:, 0]], 1))
        with torch.no_grad():
            return network(asked), torch.cat(seen)


def _accumulated_auc(pairs: Tensor) -> float:
    """AUC over the attack's own training batches, as the released code reports it."""
    return auc(pairs[:, 0].double().numpy(), np.asarray(pairs[:, 1] > 0.5))
