"""Fashion-MNIST: 60,000 + 10,000 articles of clothing, 28x28 grey (Xiao, Rasul, Vollgraf 2017)."""

from __future__ import annotations

from unlearnbench.datasets import _idx


class FashionMnist(_idx.IdxDataset):
    """Fashion-MNIST from `<root>/FashionMNIST/raw`, in its own order and split."""

    paper = "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017"
    folder = "FashionMNIST"
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
