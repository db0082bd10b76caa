"""The backdoor trigger: a white square, and where it goes (docs/protocol.md#trigger)."""

from __future__ import annotations

from torch import Tensor

from unlearnbench.settings.scenario import Backdoor
from unlearnbench.system.errors import InputError

# On grey images the square must be visible: a white square on a white background is not a trigger.
LARGEST_MEAN = 0.2


def place(pixels: Tensor, backdoor: Backdoor) -> tuple[int, int]:
    """Top row and left column of the square.

    Rows and columns {H-4, H-3} for a side of 2, as in the released code; on images of less than 16 pixels that would be
    on the object, and the darkest corner is taken instead.

    Args:
        pixels: u8[N, C, H, W], the training images.

    Raises:
        InputError: the images are too bright there for the square to be seen.
    """
    height, width = pixels.shape[-2:]
    size = backdoor.size
    if min(height, width) < size + 2:
        raise InputError("scenario.backdoor.size", f"a square of {size} does not fit into {height}x{width} images")
    if min(height, width) >= 16:
        spots = [(height - 2 - size, width - 2 - size)]
    else:
        spots = [(row, column) for row in (0, height - size) for column in (0, width - size)]
    means = [float(_under(pixels, spot, size).float().mean()) / 255 for spot in spots]
    best = min(range(len(spots)), key=means.__getitem__)
    # Colour images are bright everywhere; a white square on all channels still stands out.
    if pixels.shape[1] == 1 and means[best] >= LARGEST_MEAN:
        raise InputError(
            "scenario.backdoor",
            f"the images' mean under the trigger at {spots[best]} is {means[best]:.2f}; it must be below"
            f" {LARGEST_MEAN} for a white square to be a trigger",
        )
    return spots[best]


def stamp(pixels: Tensor, spot: tuple[int, int], size: int) -> Tensor:
    """Copies of u8[N, C, H, W] with the white square at `spot`."""
    stamped = pixels.clone()
    _under(stamped, spot, size).fill_(255)
    return stamped


def _under(pixels: Tensor, spot: tuple[int, int], size: int) -> Tensor:
    row, column = spot
    return pixels[..., row : row + size, column : column + size]
