"""Weights: the erased image is read from the change of the first layer, without any shadow."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from unlearnbench.adversary.first_layer import FirstLayer, Traces, first_layer, moved, silhouettes, single
from unlearnbench.plugin import Access, Attack, AttackView, Evidence, PluginParams, Scenario, Updates

OWN = 4_000  # of the adversary's images that she compares with
WIDER = 1.1  # than the widest silhouette of hers an image may be
NEAREST = 10  # of them whose grey levels stand in for those that can't be read
CONVOLUTIONAL = ("cnn", "resnet18", "plain_resnet18", "vit", "torchvision_model")
_QUANTILES = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0])
_LEAST = 0.03  # the multiple of 1 / x - 1, of mean 1, under which pixels are as good as white


class Weights(Attack):
    """The gradient of a first layer by one image is (what its units pass back) x (the image), so its change is the
    image.

    The silhouette is exact. Grey levels are exact after gradient descent; after Adam's steps they follow from its
    epsilon up to one factor per image, 1 / x - 1 = factor v, which trees learn from v on the adversary's own images
    (scikit-learn's; no model is asked, and no shadow made). Of several images, those are read that a hidden unit saw
    alone. What can't be read is answered by the own images with the most similar silhouettes, or by their mean where
    more pixels have moved than an image has: then remaining images were used beside the erased ones.

    The label is the class whose output bias has moved against those of all others.
    """

    paper = "arithmetic of Phong et al., 2018 (gradients of a first layer), and of Adam (Kingma and Ba, 2015)"
    ranks_by = ("skill_mean", "label_accuracy")

    class Params(PluginParams):
        rounding: Literal["float32", "bfloat16"] = Field(
            "float32", description="a defence: precision of the weights that are shown"
        )
        noise: float = Field(0.0, ge=0, description="a defence: standard deviation of Gaussian noise on all weights")

    @property
    def access(self) -> Access:
        return Access(level="parameters", rounding=self.params.rounding, noise=self.params.noise)

    def skip(self, scenario: Scenario) -> str | None:
        if scenario.kind != "leak":
            return "weights need a leak experiment"
        if scenario.network.name in CONVOLUTIONAL:
            return f"no layer of network {scenario.network.name} takes all pixels; see unlearning_inversion"
        return None

    def run(self, view: AttackView) -> Evidence:
        updates, own, size = view.updates(), view.auxiliary, view.erased_count
        own = own.take(torch.arange(min(OWN, len(own))))
        reader = _Reader(own.scaled.flatten(1).double(), size, view.torch_seed("trees") % 2**32)
        layer = first_layer(updates, own.pixels[0].numel())
        images = reader.read(layer)
        return Evidence(
            images=images.view(len(images), size, *view.shape).float(),
            label_scores=_labels(updates, view.classes, size),
        )


class _Reader:
    """Reads images, with the help of the adversary's own ones.

    Args:
        own: f64[n, P].
        size: s, erased images per erasure.
    """

    def __init__(self, own: Tensor, size: int, seed: int) -> None:
        self.own, self.size, self.mean, self.seed = own, size, own.mean(0), seed
        self.shapes = own > 0
        self.never = ~self.shapes.any(0)
        sizes = self.shapes.sum(1)
        self.smallest, self.largest = max(1, int(sizes.min())), int(sizes.max())

    def read(self, layer: FirstLayer) -> Tensor:
        """The erased images f64[T, s, P]."""
        traces = [self._traces(FirstLayer(*one)) for one in zip(*layer, strict=True)]
        scaled = [each for some in traces for each in some if each.values is not None and not each.are_grey]
        factors = iter(self._factors(scaled) if scaled else [])
        images = [[self._image(each, factors) for each in some] for some in traces]
        return torch.stack([torch.stack([*some, *[self.mean] * (self.size - len(some))]) for some in images])

    def _traces(self, layer: FirstLayer) -> list[Traces]:
        """Of the images of one erasure that have left some."""
        changed = moved(layer.weights, self.never)
        if self.size == 1:
            found = [(changed.any(0), torch.ones_like(layer.biases, dtype=torch.bool))]
        else:
            found = silhouettes(changed, layer.biases, self.size, self.smallest)
        traces = [single(layer.weights[units], layer.biases[units], pixels) for pixels, units in found]
        # Where more pixels have moved than one image has, remaining images were used, too. Gradient descent leaves grey
        # levels that all units agree on, which no mixture does.
        most = WIDER * self.largest
        return [each for each in traces if each.are_grey or self.smallest <= int(each.pixels.sum()) <= most]

    def _image(self, traces: Traces, factors: Iterator[float]) -> Tensor:
        """f64[P]; `factors` has one for each image whose values are not grey levels."""
        image = torch.zeros_like(self.mean)
        if traces.values is None:
            image[traces.pixels] = self._alike(traces.pixels)
            return image
        if traces.are_grey:
            image[traces.pixels] = traces.values.clamp(0, 1)
            return image
        read = 1 / (1 + next(factors) * traces.values)
        # The less the units agree, the more weight have the images with similar silhouettes.
        image[traces.pixels] = torch.lerp(self._alike(traces.pixels), read, traces.reliability)
        return image

    def _alike(self, pixels: Tensor) -> Tensor:
        """Grey levels f64[m] of the own images with the most similar silhouettes."""
        nearest = (self.shapes ^ pixels).sum(1).topk(min(NEAREST, len(self.own)), largest=False).indices
        values, there = self.own[nearest][:, pixels].sum(0), self.shapes[nearest][:, pixels].sum(0)
        usual = self.own.sum(0)[pixels] / self.shapes.sum(0)[pixels].clamp_min(1)
        return torch.where(there > 0, values / there.clamp_min(1), usual)

    def _factors(self, traces: Sequence[Traces]) -> list[float]:
        """The factor between 1 / x - 1 and values of mean 1, from what is true of the adversary's own images."""
        from sklearn.ensemble import ExtraTreesRegressor

        inputs, answers = [], []
        for image, shape in zip(self.own, self.shapes, strict=True):
            inverse = 1 / image[shape] - 1
            if len(inverse) and float(inverse.mean()) > 0:
                inputs.append(_features(inverse / inverse.mean(), shape))
                answers.append(np.log(float(inverse.mean())))
        if not inputs:  # black and white: any factor would do
            return [1.0] * len(traces)
        trees = ExtraTreesRegressor(100, min_samples_leaf=2, random_state=self.seed, n_jobs=1)
        trees.fit(np.stack(inputs), np.array(answers))
        asked = [_features(cast(Tensor, each.values), each.pixels) for each in traces]
        return [float(factor) for factor in np.exp(trees.predict(np.stack(asked)))]


def _features(values: Tensor, pixels: Tensor) -> np.ndarray:
    """Quantiles of log values f64[m] of mean 1, the share of pixels that are not 0, and the image as it would be with
    factor 1, every pixel or means of blocks of it."""
    logs = np.log(np.maximum(values.numpy(), _LEAST))
    image = np.zeros(len(pixels))
    image[pixels.numpy()] = 1 / (1 + values.numpy())
    blocks = [block.mean() for block in np.array_split(image, min(len(image), 64))]
    return np.concatenate([np.quantile(logs, _QUANTILES), [float(pixels.double().mean())], blocks])


def _labels(updates: Updates, classes: int, size: int) -> Tensor | None:
    """Scores f32[T, s, Y] from the last layer's biases: cross-entropy pushes that of the label one way, and those of
    all other classes the other way. Of several images each gets another one of the classes that stand out."""
    biases: list[Any] = [c for c in updates.parameter_changes.values() if c.ndim == 2 and c.shape[1] == classes]
    if not biases:
        return None
    change = biases[-1].double()
    against: Tensor = -change * torch.sign(change.sign().sum(1, keepdim=True) + change.mean(1, keepdim=True).sign() / 2)
    if size == 1:
        return against[:, None].float()
    order, standing = against.argsort(1, descending=True), (against > 0).sum(1).clamp_min(1)
    chosen = torch.stack([order[t, torch.arange(size) % int(standing[t])] for t in range(len(order))])
    spread: Tensor = torch.nn.functional.one_hot(chosen, classes).float()
    return spread
