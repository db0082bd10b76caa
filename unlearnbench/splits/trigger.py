"""The backdoor trigger: patterns, where they go, and how they are stamped (docs/protocol.md#trigger)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unlearnbench.settings.scenario import Backdoor
from unlearnbench.system.errors import InputError
from unlearnbench.system.seeding import stream

# On grey images the pattern must be visible: a white square on a white background is not a trigger.
LARGEST_MEAN = 0.2


@dataclass(frozen=True, eq=False)
class Mark:
    """What one owner stamps images with, and the class whose label she gives them.

    Attributes:
        spot: top row and left column of the pattern.
        pattern: u8[size, size], the same in all channels.
        blend: the share of the pattern in what is seen under it.
    """

    spot: tuple[int, int]
    pattern: Tensor
    blend: float
    target: int

    def stamped(self, pixels: Tensor) -> Tensor:
        """Copies of u8[N, C, H, W] with the pattern."""
        copies = pixels.clone()
        under = _under(copies, self.spot, len(self.pattern))
        blended = (1 - self.blend) * under.float() + self.blend * self.pattern.to(pixels.device).float()
        under.copy_(blended.round())
        return copies


def marks(pixels: Tensor, backdoor: Backdoor, classes: int, seed: int) -> list[Mark]:
    """The mark of each owner, hers who asks for erasure first; her target class and those that follow it.

    Args:
        pixels: u8[N, C, H, W], the training images.
        classes: how many the dataset has.
        seed: of the world; random patterns depend on it.

    Raises:
        InputError: the pattern does not fit or would not be seen, or there are more owners than target classes.
    """
    base, first = backdoor.classes
    targets = [label for label in ((first + step) % classes for step in range(classes)) if label != base]
    if backdoor.owners > len(targets):
        raise InputError(
            "scenario.backdoor.owners",
            f"{backdoor.owners} owners need as many target classes; {classes} classes leave {len(targets)} beside base",
        )
    spot = place(pixels, backdoor)
    patterns = _patterns(backdoor, seed)
    return [Mark(spot, pattern, backdoor.blend, target) for pattern, target in zip(patterns, targets, strict=False)]


def place(pixels: Tensor, backdoor: Backdoor) -> tuple[int, int]:
    """Top row and left column of the pattern: the scenario's, if it says, else chosen by the size of the images.

    Rows and columns {H-4, H-3} for a side of 2, as in the released code; on images of less than 16 pixels that would be
    on the object, and the darkest corner is taken instead.

    Args:
        pixels: u8[N, C, H, W], the training images.

    Raises:
        InputError: there is no such place, or the images are too bright there for the pattern to be seen.
    """
    height, width = pixels.shape[-2:]
    size = backdoor.size
    if min(height, width) < size + 2:
        raise InputError("scenario.backdoor.size", f"a square of {size} does not fit into {height}x{width} images")
    if backdoor.row is not None and backdoor.column is not None:
        spots = [(_from_edge("row", backdoor.row, height - size), _from_edge("column", backdoor.column, width - size))]
    elif min(height, width) >= 16:
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


def _from_edge(name: str, given: int, last: int) -> int:
    """A row or column between 0 and `last`; negative ones count from the other edge."""
    if not -last - 1 <= given <= last:
        raise InputError(f"scenario.backdoor.{name}", f"{given} is outside the images: give {-last - 1} to {last}")
    return given % (last + 1)


def _patterns(backdoor: Backdoor, seed: int) -> list[Tensor]:
    """A pattern u8[size, size] for each owner, no two alike."""
    size = backdoor.size
    if backdoor.pattern == "white":
        return [torch.full((size, size), 255, dtype=torch.uint8)]
    if backdoor.pattern == "checker":
        rows = torch.arange(size)
        return [(255 * ((rows[:, None] + rows + 1) % 2)).to(torch.uint8)]
    generator, chosen = stream(seed, "patterns"), list[tuple[int, ...]]()
    while len(chosen) < backdoor.owners:
        lit = tuple(sorted(generator.permutation(size * size)[: backdoor.lit].tolist()))
        if lit not in chosen:
            chosen.append(lit)
    made = torch.zeros(len(chosen), size * size, dtype=torch.uint8)
    return list(made.scatter_(1, torch.tensor(chosen), 255).view(-1, size, size))


def _under(pixels: Tensor, spot: tuple[int, int], size: int) -> Tensor:
    row, column = spot
    return pixels[..., row : row + size, column : column + size]
