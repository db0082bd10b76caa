"""Decoders from one update to the set of images that it erased: first the labels, then an image for each label.

Sets are f32[n, s, M] with labels i64[n, s]. Neither has an order, so errors are those of the best matching.
"""

from __future__ import annotations

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from unlearnbench.adversary.autoencoder import Autoencoder, Shape, VaeSettings, noisy, train
from unlearnbench.adversary.decoders import RidgeDecoder
from unlearnbench.adversary.discriminator import Discriminator

BATCH = 32  # sets in a minibatch
Matching = Literal["hungarian", "best"]


def nearest_labels(counts: Tensor, size: int) -> Tensor:
    """The labels of s images whose class counts are closest to the estimated counts (largest remainders).

    Args:
        counts: f32[n, Y], with any total.
        size: s.

    Returns:
        i64[n, s], ascending.
    """
    shares = counts.clamp_min(1e-9)
    quotas = shares / shares.sum(1, keepdim=True) * size
    whole = quotas.floor()
    missing = (size - whole.sum(1)).round().long()
    ranks = (quotas - whole).argsort(1, descending=True).argsort(1)
    filled = (whole + (ranks < missing[:, None])).long()
    classes = torch.arange(counts.shape[1])
    return torch.stack([torch.repeat_interleave(classes, row) for row in filled])


def match(predicted: Tensor, truth: Tensor, matching: Matching = "hungarian") -> Tensor:
    """The position of each true image's prediction, i64[n, s].

    `hungarian` uses each prediction once. `best` takes the nearest prediction for each true image, even if another
    image has taken it: the best-match loss of Updates-Leak (Salem et al., 2020, section 4.2).
    """
    with torch.no_grad():
        cost = torch.cdist(truth, predicted).square()
    if matching == "best":
        return cost.argmin(2)
    return torch.stack([torch.from_numpy(linear_sum_assignment(each)[1]) for each in cost.numpy()])


def set_errors(predicted: Tensor, truth: Tensor, matching: Matching = "hungarian") -> Tensor:
    """Squared error of each set after matching, averaged over its images, f32[n]; differentiable in `predicted`."""
    order = match(predicted, truth, matching)
    chosen = predicted.gather(1, order[..., None].expand_as(truth))
    errors: Tensor = (chosen - truth).square().sum(2).mean(1)
    return errors


class RidgeSetDecoder:
    """Ridge regression of class sums; where a set holds one image of a class, the sum is this image.

    The update of a set is close to the sum over its images, and a linear map can tell classes apart, but not the images
    of one class. So for each class the sum of its images' differences from the class mean is predicted, and shared
    evenly among the images of the class. Without any information the prediction is the class means of the inferred
    labels.

    Args:
        inputs: f32[n, R], standardised.
        images, labels: f32[n, s, M] and i64[n, s], the truth.
        inferred: i64[n, s], inferred labels, used for the validation rows.
        validation: bool[n].
        classes: Y.
    """

    def __init__(
        self, inputs: Tensor, images: Tensor, labels: Tensor, inferred: Tensor, validation: Tensor, classes: int
    ) -> None:
        training = ~validation
        self._means = images[training].mean((0, 1)).repeat(classes, 1)
        for label in labels[training].unique():
            self._means[label] = images[training][labels[training] == label].mean(0)
        sums = torch.zeros(len(images), classes, images.shape[2])
        sums.scatter_add_(1, labels[..., None].expand_as(images), images - self._means[labels])
        self._ridge = RidgeDecoder(inputs, sums.flatten(1), validation)
        self.validation_error = self._error(inputs, images, inferred, validation)

    def predict(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """f32[n, s, M]."""
        sums = self._ridge.predict(inputs).view(len(inputs), *self._means.shape)
        counts = F.one_hot(labels, len(self._means)).sum(1).clamp_min(1)
        each = sums / counts[..., None]
        differences = each.gather(1, labels[..., None].expand(-1, -1, each.shape[2]))
        return (self._means[labels] + differences).clamp(0, 1)

    def _error(self, inputs: Tensor, images: Tensor, inferred: Tensor, validation: Tensor) -> float:
        predicted = self.predict(inputs[validation], inferred[validation])
        return float(set_errors(predicted, images[validation]).mean())


class VaeSetDecoder:
    """An autoencoder whose decoder gives one image at a time, for a label and a rank among equal labels.

    Training compares whole sets after matching, so that no order of the images has to be learned. The ranks make the
    images of one label differ.

    Args:
        settings: sizes and training.
        matching: in the training loss. Validation always matches one to one, as scoring does.
        draws: codes drawn for each update, whose images are clustered into s centroids (Salem et al., section 4.2, who
            draw 20,000 images a set); 0: the images of the mean code.
        shape: C, H, W.
        seed: of its own random stream; the global one is left as it was.
        inputs, images, labels, inferred, validation, classes: as for RidgeSetDecoder.
        adversarial: weight of the adversarial term of Updates-Leak (section 4.2), per set; 0: none.
    """

    def __init__(
        self, settings: VaeSettings, matching: Matching, draws: int, shape: Shape, seed: int, inputs: Tensor,
        images: Tensor, labels: Tensor, inferred: Tensor, validation: Tensor, classes: int, adversarial: float = 0.0,
    ) -> None:  # fmt: skip
        self._classes, self._draws, self._seed = classes, draws, seed
        x, y, hints = inputs[~validation], images[~validation], self._hints(labels[~validation].sort(1).values)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = Autoencoder(settings, inputs.shape[1], shape, y.mean((0, 1)), len(x), hints.shape[2])
            judge = Discriminator(inputs.shape[1], y.shape[2], settings.lr) if adversarial else None

            def loss(rows: Tensor) -> Tensor:
                code, kl = self._network.sample(noisy(x[rows]))
                decoded = self._decode(code, hints[rows])
                errors = set_errors(decoded, y[rows], matching)
                value: Tensor = (errors + settings.kl_weight * kl).mean()
                if judge is None:
                    return value
                updates = x[rows].repeat_interleave(y.shape[1], 0)
                return value + adversarial * judge.term(decoded.flatten(0, 1), y[rows].flatten(0, 1), updates)

            def error() -> float:
                predicted = self._at_mean(inputs[validation], inferred[validation])
                return float(set_errors(predicted, images[validation]).mean())

            self.validation_error = train(self._network, settings, len(x), loss, error, BATCH)
        if draws:
            predicted = self.predict(inputs[validation], inferred[validation])
            self.validation_error = float(set_errors(predicted, images[validation]).mean())

    def predict(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """f32[n, s, M]."""
        images = self._at_mean(inputs, labels)
        return self._centroids(inputs, labels, images) if self._draws else images

    def _at_mean(self, inputs: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return self._decode(self._network.encode(inputs)[0], self._hints(labels))

    def _centroids(self, inputs: Tensor, labels: Tensor, images: Tensor) -> Tensor:
        """Centres of KMeans on drawn images, started from the mean code's, so that each keeps its label."""
        from sklearn.cluster import KMeans  # importing it takes a second, and few attacks cluster

        found = torch.empty_like(images)
        hints = self._hints(labels)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self._seed)
            for index, start in enumerate(images):
                code, _ = self._network.sample(inputs[index].expand(self._draws, -1))
                drawn = self._decode(code, hints[index].expand(self._draws, -1, -1)).flatten(0, 1)
                clusters = KMeans(len(start), init=start.numpy(), n_init=1).fit(drawn.numpy())
                found[index] = torch.from_numpy(clusters.cluster_centers_)
        return found

    def _decode(self, code: Tensor, hints: Tensor) -> Tensor:
        """f32[n, s, M]."""
        asked = torch.cat([code[:, None].expand(-1, hints.shape[1], -1), hints], 2)
        return self._network.decode(asked.flatten(0, 1)).view(*hints.shape[:2], -1)

    def _hints(self, labels: Tensor) -> Tensor:
        """What distinguishes the images of a set: label, and rank among equal labels from 0 to 1; f32[n, s, Y + 1]."""
        kinds = F.one_hot(labels, self._classes)
        ranks = (kinds.cumsum(1) * kinds).sum(2) - 1
        return torch.cat([kinds, (ranks / labels.shape[1])[..., None]], 2).float()
