"""A small vision transformer."""

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from unlearnbench.plugin import Model, PluginParams


class Attention(nn.Module):
    """Multi-head self-attention, written out: torch.func then differentiates it in every direction."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        shared = self.project(x).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = shared.permute(2, 0, 3, 1, 4)  # [B, heads, tokens, width / heads] each
        weights = (query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5).softmax(-1)
        joined: Tensor = self.join((weights @ value).transpose(1, 2).reshape(batch, tokens, width))
        return joined


class Block(nn.Module):
    """Attention and an MLP, each after layer normalisation and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        deeper: Tensor = x + self.mlp(self.before_mlp(x))
        return deeper


class Transformer(nn.Module):
    """`encode` gives the mean of the tokens after the last block; `classify` is one layer."""

    def __init__(
        self, shape: tuple[int, int, int], patch: int, width: int, depth: int, heads: int, classes: int
    ) -> None:
        super().__init__()
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.patches = nn.Conv2d(shape[0], width, patch, stride=patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def encode(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.position
        features: Tensor = self.norm(self.blocks(tokens)).mean(1)
        return features

    def classify(self, z: Tensor) -> Tensor:
        logits: Tensor = self.head(z)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.encode(images))


class Vit(Model):
    """Patches to tokens, blocks of attention and MLP with layer normalisation before each (pre-norm), the mean of the
    tokens as representation. Without dropout and without a class token."""

    paper = "after Dosovitskiy et al.: An image is worth 16x16 words, ICLR 2021"
    features = True

    class Params(PluginParams):
        patch: int | None = Field(None, ge=1, description="side of a patch, pixels; null: a quarter of the image's")
        width: int = Field(64, ge=1, description="dimensions of a token, a multiple of heads")
        depth: int = Field(2, ge=1, le=48, description="blocks")
        heads: int = Field(4, ge=1, description="heads of each attention")

        @model_validator(mode="after")
        def _heads_divide(self) -> Self:
            if self.width % self.heads:
                raise ValueError(f"width is {self.width}, not a multiple of heads, which is {self.heads}")
            return self

    def build(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        p = self.params
        patch = p.patch or max(1, min(shape[1:]) // 4)
        if any(side % patch for side in shape[1:]):
            raise ValueError(f"vit: images of {shape[1]}x{shape[2]} are not a whole number of {patch}x{patch} patches")
        return Transformer(shape, patch, p.width, p.depth, p.heads, classes)
