"""How far apart two sets of models are on an image, by their distributions of margins. N models, n images."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from unlearnbench.metrics.intervals import Floats
from unlearnbench.settings.scenario import Level

Smoothing = Literal["half", "published"]

BINS = 20
"""Bins of KLoM's histograms."""

CLIP = 100.0
"""Margins, in nat, beyond which KLoM treats all as equal."""

_SMALLEST = 1e-12  # of probabilities, before their logarithm is taken
_BIN_FLOOR = 1e-5


def margin(outputs: Tensor, labels: Tensor, level: Level) -> Tensor:
    """phi = log p_y - log(1 - p_y), the true class's logit-scaled confidence in nat (Carlini et al., 2022, VI.A).

    Args:
        outputs: f32[..., Y] at the levels `log_probabilities` or `probabilities`.
        labels: i64[...], or of the last of these dimensions.

    Returns:
        f64[...]; also the margin of KLoM, the logit of y minus the log-sum-exp of the others.
    """
    log_p = outputs.double()
    if level == "probabilities":
        log_p = log_p.clamp_min(_SMALLEST).log()
    own = labels.expand(outputs.shape[:-1])[..., None]
    # The others are summed: 1 - p_y would lose every digit where p_y is near 1.
    others = log_p.scatter(-1, own, -float("inf")).logsumexp(-1)
    return log_p.gather(-1, own)[..., 0] - others


def klom(unlearned: Floats, retrained: Floats, smoothing: Smoothing = "half") -> Floats:
    """KL of margins, unlearned || retrained, of histograms over their common range (Georgiev et al., 2024).

    The published code gives bins without a retrained model the probability 1e-5, so that with 16 models a side equal
    distributions come to 6 nat (95th percentile). `half` adds half a model to each bin of both sides (Krichevsky and
    Trofimov, 1981), 0.6 nat; both estimates need hundreds of models to vanish, and neither can exceed `klom_ceiling`.

    Args:
        unlearned, retrained: margins f64[N, n]; N may differ.

    Returns:
        f64[n], nat.
    """
    from scipy.stats import entropy

    u, r = np.clip(unlearned, -CLIP, CLIP), np.clip(retrained, -CLIP, CLIP)
    low, high = np.minimum(u.min(0), r.min(0)), np.maximum(u.max(0), r.max(0))
    width = np.where(high > low, high - low, 1.0)

    def counts(values: Floats) -> Floats:
        bins = np.minimum((BINS * (values - low) / width).astype(np.intp), BINS - 1)
        return np.stack([(bins == number).sum(0) for number in range(BINS)]).astype(np.float64)

    if smoothing == "half":
        p, q = counts(u) + 0.5, counts(r) + 0.5
    else:
        p, q = counts(u), counts(r) / len(r)
        q = np.where(p > 0, np.maximum(q, _BIN_FLOOR), q)
    return np.asarray(entropy(p, q, axis=0), dtype=np.float64)


def klom_ceiling(models: int, smoothing: Smoothing = "half") -> float:
    """The largest KLoM, nat, that so many models per side can show however far apart they are: each side in one bin.

    With `half` it is N / (N + 10) log(2 N + 1): 2.2 nat with 16 models, 5.1 with 128. Margins that fill several bins
    reach less: their divergence may be hundreds of nat.
    """
    apart = np.zeros((models, 1)), np.ones((models, 1))
    return float(klom(*apart, smoothing)[0])
