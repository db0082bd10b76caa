"""Structural similarity (SSIM) of images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, DEVIATION = 11, 1.5  # pixels, of the Gaussian window
C1, C2 = 0.01**2, 0.03**2  # for pixels in [0, 1]


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of pairs of images (Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE TIP 2004, Eq. 13).

    A Gaussian window over all positions inside the image, averaged over positions and channels. In images with a side
    under 11 pixels the window is the largest odd square that fits.

    Args:
        first, second: f32[n, C, H, W] in [0, 1].

    Returns:
        f64[n], from -1 to 1; 1 for equal images.
    """
    side = min(WINDOW, *first.shape[-2:])
    side -= 1 - side % 2
    positions = torch.arange(side, dtype=torch.float64) - side // 2
    weights = torch.exp(-positions.square() / (2 * DEVIATION**2))
    weights = weights / weights.sum()

    def smooth(images: Tensor) -> Tensor:
        channels = images.flatten(0, 1)[:, None]
        rows = F.conv2d(channels, weights.view(1, 1, -1, 1))
        return F.conv2d(rows, weights.view(1, 1, 1, -1))

    x, y = first.double(), second.double()
    mean_x, mean_y = smooth(x), smooth(y)
    variance_x, variance_y = smooth(x * x) - mean_x**2, smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).view(len(first), -1).mean(1)
