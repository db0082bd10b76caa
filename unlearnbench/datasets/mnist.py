"""MNIST: 60,000 + 10,000 handwritten digits, 28x28 grey (LeCun, Cortes, Burges 1998)."""

from __future__ import annotations

from unlearnbench.datasets import _idx


class Mnist(_idx.IdxDataset):
    """MNIST from `<root>/MNIST/raw`, in its own order and split."""

    paper = "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, 1998"
    folder = "MNIST"
    classes = tuple("0123456789")
