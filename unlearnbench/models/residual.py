"""torchvision's ResNet-18 for images of any size."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import nn

from unlearnbench.system.torchvision_import import import_torchvision


def resnet18(
    shape: tuple[int, int, int], outputs: int, stem: Literal["small", "imagenet"], groups: int | None = None
) -> nn.Module:
    """ResNet-18 with random weights.

    Args:
        shape: C, H, W of the images.
        outputs: size of the last layer.
        stem: a 3x3 convolution without pooling, for images of about 32x32, or the original 7x7 with pooling.
        groups: of group normalisation; None: batch normalisation.
    """
    import_torchvision()  # takes a second, and few networks need it
    from torchvision.models import resnet18 as make

    norm = None if groups is None else partial(nn.GroupNorm, groups)
    body: nn.Module = make(weights=None, num_classes=outputs, norm_layer=norm)
    if stem == "small":
        body.conv1 = nn.Conv2d(shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
        body.maxpool = nn.Identity()
    elif shape[0] != 3:
        body.conv1 = nn.Conv2d(shape[0], 64, kernel_size=7, stride=2, padding=3, bias=False)
    return body
