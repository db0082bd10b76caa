"""How far apart two sets of models are on an image: both give a distribution of margins. N models, n images."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.settings import Level

Floats = NDArray[np.float64]
Smoothing = Literal["half", "published"]

BINS = 20
"""Of KLoM's histograms."""

CLIP = 100.0
"""Margins, in nat, beyond which KLoM counts all as equal."""

DELTA = 0.05
"""Chance at which epsilon need not hold. Of 16 models one is 6 %: what happens less often, they can't show."""

EPSILON_CAP = 10.0
"""Largest epsilon, in nat: beyond it only the normal distribution's far tails speak, which no few models have shown."""

_SMALLEST = 1e-12  # of probabilities, before their logarithm is taken
_BIN_FLOOR = 1e-5
_SPREAD_FLOOR = 1e-6  # nat, of standard deviations


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
    Trofimov, 1981), 0.6 nat; both estimates need hundreds of models to vanish.

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


def epsilon(unlearned: Floats, retrained: Floats, delta: float = DELTA) -> Floats:
    """The (epsilon, delta) by which the best threshold tells unlearned from retrained models (Triantafillou et al.).

    Normal distributions are fitted to both sets of margins. An attack calls a model unlearned if its margin is above a
    threshold (or below it), with false positive and false negative rates FPR and FNR under the fits, and refutes every
    epsilon below max(log((1 - delta - FPR) / FNR), log((1 - delta - FNR) / FPR)). The largest over thresholds and
    directions counts, from 0 to `EPSILON_CAP`. For equal variances it solves the normal mechanism's privacy curve
    Phi(m/2 - eps/m) - e^eps Phi(-m/2 - eps/m) = delta, m the distance of the means in standard deviations (Balle and
    Wang, 2018).

    Args:
        unlearned, retrained: margins f64[N, n]; N at least 2, and may differ.

    Returns:
        f64[n], nat.
    """
    from scipy.special import log_ndtr, ndtr

    means = [margins.mean(0)[:, None] for margins in (unlearned, retrained)]
    spreads = [np.maximum(margins.std(0, ddof=1), _SPREAD_FLOOR)[:, None] for margins in (unlearned, retrained)]
    steps = np.linspace(-6, 6, 601)
    # A grid of each distribution's own: one may be far narrower than the other.
    thresholds = np.concatenate([mean + spread * steps for mean, spread in zip(means, spreads, strict=True)], 1)
    u, r = ((thresholds - mean) / spread for mean, spread in zip(means, spreads, strict=True))
    best = np.zeros(len(thresholds))
    # Above a threshold: FNR = Phi(u), FPR = Phi(-r). Below it both signs turn, and u and r swap roles between the two
    # bounds: all four are (Phi(x) - delta) / Phi(y).
    for x, y in ((r, u), (-u, -r), (-r, -u), (u, r)):
        likely = ndtr(x) - delta
        bound = np.log(np.maximum(likely, np.finfo(float).tiny)) - log_ndtr(y)
        best = np.maximum(best, np.where(likely > 0, bound, 0.0).max(1))
    return np.minimum(best, EPSILON_CAP)
