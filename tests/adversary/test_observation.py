import pytest
import torch

from unlearnbench.adversary.observation import observe

MEAN = torch.tensor([[0.5, -1.0]])
LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.05, 0.25, 0.2]])) + 3.0


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("representation", [[0.5, -1.0]]),
        ("probabilities", [[0.1, 0.4, 0.05, 0.25, 0.2]]),
        ("top_k", [[0.0, 0.4, 0.0, 0.25, 0.2]]),
        ("label", [[0.0, 1.0, 0.0, 0.0, 0.0]]),
    ],
)
def test_levels_by_hand(level, expected):
    torch.testing.assert_close(observe(level, MEAN, LOGITS), torch.tensor(expected))


def test_log_probabilities_are_normalised():
    seen = observe("log_probabilities", MEAN, LOGITS)
    torch.testing.assert_close(seen.exp(), observe("probabilities", MEAN, LOGITS))
    assert float(seen.exp().sum()) == pytest.approx(1)


@pytest.mark.parametrize("level", ["representation", "log_probabilities", "probabilities", "top_k", "label"])
def test_leading_dimensions_and_dtype_are_kept(level):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 4, 7, generator=generator)
    logits = torch.randn(3, 4, 5, generator=generator)
    seen = observe(level, mean, logits)
    assert seen.shape == (3, 4, 7 if level == "representation" else 5)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen[1, 2], observe(level, mean[1, 2], logits[1, 2]))


def test_top_k_of_fewer_classes_are_all():
    torch.testing.assert_close(observe("top_k", MEAN, LOGITS[:, :2]), LOGITS[:, :2].softmax(1))
