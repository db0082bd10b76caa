"""SISA: one model per shard of the data, so that only the shards that held erased images are retrained."""

import copy
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from unlearnbench.models.ensemble import Ensemble
from unlearnbench.plugin import Context, ErasureSets, Images, Method, PluginParams, Splits, derive, stream


class Sisa(Method):
    """Sharded, isolated, sliced and aggregated training. The method trains its own original, an ensemble: every
    training image belongs to one of S shards at random, the shared trainer trains a model on each shard, and the
    ensemble predicts

        p(y|x) = mean over the shards of p_s(y|x)

    Erasing drops the images from their shards and retrains the models of those shards from scratch, from a fresh seed;
    the others stay as they are, bit for bit. Forgetting is exact in the sense of retraining THIS ensemble. As the
    models of untouched shards do not change, whoever sees the models learns which shards held the erased images.

    It departs from the paper in two ways. The paper's default aggregation, a majority vote of labels, gives no
    probabilities; its other one is used, the mean of the models' probability vectors. And shards are not sliced: slices
    save retraining time by checkpoints of a model that saw only the first slices, and change neither what is trained on
    nor what is forgotten. The partition is drawn from the training seed and kept with the weights. Each shard has its
    own J dimensions of Z, so the representation has S * J dimensions. A shard without images keeps a freshly
    initialised model.
    """

    paper = "Bourtoule et al.: Machine Unlearning, IEEE S&P 2021"

    class Params(PluginParams):
        shards: int = Field(5, ge=2, description="S, the number of models and of parts of the training data")

    @property
    def own_original(self) -> bool:
        return True

    def build(self, context: Context) -> nn.Module:
        return Ensemble([context.build(0) for _ in range(self.params.shards)], 0)

    def train(self, data: Images, context: Context) -> nn.Module | None:
        seed = context.seeds[0]
        shards = self.partition(data.ids, seed)
        return Ensemble([_trained(data.take(rows), shard, context) for shard, rows in enumerate(shards)], seed)

    def unlearn(self, model: nn.Module, splits: Splits, context: Context) -> nn.Module:
        changed = cast(Ensemble, copy.deepcopy(model))
        seed = int(changed.seed)
        held, kept = (self.partition(images.ids, seed) for images in splits)
        for shard, (erased, rows) in enumerate(zip(held, kept, strict=True)):
            if len(erased):
                changed.models[shard] = _trained(splits.remaining.take(rows), shard, context)
        return changed

    def partition(self, ids: Tensor, seed: int) -> list[Tensor]:
        """Rows of each shard's images; an image's shard depends only on its id and the seed."""
        drawn = stream(seed, "partition").random(int(ids.max()) + 1 if len(ids) else 0)
        shard = (torch.from_numpy(drawn).to(ids.device)[ids] * self.params.shards).long()
        return [(shard == number).nonzero().flatten() for number in range(self.params.shards)]


def _trained(images: Images, shard: int, context: Context) -> nn.Module:
    """The model of one shard; its steps and samples are added to the ensemble's."""
    own = context.with_seeds([derive(context.seeds[0], "shard", shard)])
    if not len(images):
        return own.fresh().module(0)
    everything = torch.arange(len(images), device=images.labels.device)
    return own.train(ErasureSets(images, everything, everything[None, :0])).module(0)
