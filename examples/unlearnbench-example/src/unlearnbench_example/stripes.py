"""Stripes: 800 + 200 made-up images, 8x8 grey, striped in four directions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from unlearnbench.plugin import Dataset, ImageData, Images, stream

TRAIN, TEST, CLASSES = 800, 200, 4


class Stripes(Dataset):
    """Stripes down, across and along both diagonals, at any place, under noise."""

    version = 1
    paper = "unlearnbench's example"
    defaults: ClassVar[Mapping[str, Any]] = {
        "network": {"hidden": 32, "latent": 16},
        "leak": {"target": 300, "known": 200, "pool": 300, "validation": 20, "probe": 20, "spare": 120},
    }

    def files(self, root: Path) -> list[Path]:
        # The images come out of this file, so it is their fingerprint. A dataset with files lists them instead.
        return [Path(__file__)]

    def load(self, root: Path) -> ImageData:
        count = TRAIN + TEST
        numbers = stream(0, "example_stripes")
        labels = torch.arange(count) % CLASSES
        down, across = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        directions = torch.stack([down, across, down + across, down - across])
        shift = torch.from_numpy(numbers.integers(0, 4, (count, 1, 1)))
        bright = (directions[labels] + shift) % 4 < 2
        noise = torch.from_numpy(numbers.integers(0, 80, (count, 8, 8)))
        pixels = (bright * 160 + noise).to(torch.uint8)[:, None]
        ids = torch.arange(count)
        whole = Images(pixels, labels, ids)
        return ImageData(whole.take(ids[:TRAIN]), whole.take(ids[TRAIN:]), CLASSES)
