"""`unlearn`: one method on a model that somebody else made, which stays as it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import write_method
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

import unlearnbench as ub
from unlearnbench.datasets.digits import Digits


class Scaled(nn.Module):
    """Normalises inside, as the images come in 0..1."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.3) / 0.4


def trained() -> nn.Module:
    """A small convolutional network, trained on a few digits."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)]
    model = nn.Sequential(Scaled(), *layers)
    (pixels, labels), optimiser = images(0, 200), torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimiser.zero_grad()
        F.cross_entropy(model(pixels / 255), labels).backward()
        optimiser.step()
    return model.eval()


def images(first: int, last: int) -> tuple[Tensor, Tensor]:
    """Digits u8[n, 1, 8, 8] and their labels."""
    data = Digits().load(Path()).train
    return data.pixels[first:last], data.labels[first:last]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return trained()


def loss(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(model(pixels / 255), labels))


def unlearn(model: nn.Module, method: str = "gradient_ascent", **options: Any) -> nn.Module:
    return ub.unlearn(method, model, *(options.pop(name, at) for name, at in PARTS.items()), **options)


PARTS = {"erased": images(0, 10), "remaining": images(10, 200)}


def test_gradient_ascent_forgets_and_leaves_the_given_model_as_it_was(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    after = unlearn(model, steps=30)
    assert type(after) is type(model)
    assert loss(after, *PARTS["erased"]) > loss(model, *PARTS["erased"]) + 0.5
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p is not q for p, q in zip(after.parameters(), model.parameters(), strict=True))
    assert torch.equal(after[2].running_mean, model[2].running_mean)  # eval mode: no statistics of a few images


def test_it_is_gradient_ascent_as_a_plain_loop_would_do_it(model: nn.Module) -> None:
    plain, (pixels, labels) = copy.deepcopy(model).double(), PARTS["erased"]
    optimiser = torch.optim.Adam(plain.parameters(), 1e-3)
    for _ in range(5):
        optimiser.zero_grad()
        (-F.cross_entropy(plain(pixels.double() / 255), labels)).backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
        optimiser.step()
    after = unlearn(copy.deepcopy(model).double(), steps=5)
    for mine, theirs in zip(after.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_the_same_call_gives_the_same_model_and_random_state_is_left_alone(model: nn.Module) -> None:
    state = torch.get_rng_state()
    first, second, other = (unlearn(model, steps=4, batch=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


class Pairs(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        pixels, labels = PARTS["erased"]
        return pixels[number] / 255, int(labels[number])


@pytest.mark.parametrize(
    "erased", [Pairs(), TensorDataset(*PARTS["erased"]), (PARTS["erased"][0] / 255, PARTS["erased"][1].int())]
)
def test_datasets_and_floats_are_the_same_images(erased: Any, model: nn.Module) -> None:
    expected, found = unlearn(model, steps=3), unlearn(model, steps=3, erased=erased)
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters(), strict=True))


def test_the_mode_and_frozen_flags_of_the_model_are_kept(model: nn.Module) -> None:
    given = copy.deepcopy(model).train()
    given[5].weight.requires_grad_(False)
    after = unlearn(given, steps=1)
    assert after.training
    assert given.training
    assert not after[5].weight.requires_grad


def test_a_method_of_ones_own_works_too(model: nn.Module, tmp_path: Path) -> None:
    write_method(tmp_path, "halved", unlearn="return before.apply(lambda v: v / 2 if v.is_floating_point() else v)")
    after = unlearn(model, "halved", plugins=tmp_path)
    assert torch.equal(after[5].weight, model[5].weight / 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "gradient_asent"}, "method: unknown method 'gradient_asent'; did you mean 'gradient_ascent'"),
        ({"method": "retrain"}, "method: retrain is a reference of suites"),
        ({"method": "sisa"}, "method: sisa with these params trains an original of its own"),
        ({"method": "crfu"}, "method: crfu .*posterior"),
        ({"params": {"lrr": 1}}, "params.*lrr"),
        ({"steps": 0}, "steps: .*1"),
        ({"lr": -1.0}, "lr: "),
        ({"erased": PARTS["erased"][0]}, "erased: a Dataset must give images as tensors of one shape, and labels"),
        ({"erased": 3}, "erased: must be images and labels"),
        ({"erased": (torch.zeros(0, 1, 8, 8), torch.zeros(0).long())}, "erased: must be images .* not 0x1x8x8 and 0"),
        ({"erased": (PARTS["erased"][0] / 100, PARTS["erased"][1])}, r"erased: pixels from 0 to 2\.55; give them in"),
        ({"erased": (PARTS["erased"][0].int(), PARTS["erased"][1])}, "erased: pixels must be uint8, .* not int32"),
        ({"erased": (PARTS["erased"][0], PARTS["erased"][1].float())}, "erased: labels must be whole numbers from 0"),
        ({"remaining": (torch.zeros(3, 3, 8, 8), torch.zeros(3).long())}, "remaining: images of shape 3x3x8x8"),
        ({"erased": (PARTS["erased"][0], PARTS["erased"][1] + 9)}, "model: gives 10 logits, but .* of class 1"),
    ],
)
def test_what_can_not_be_unlearned_is_one_error(given: dict[str, Any], said: str, model: nn.Module) -> None:
    with pytest.raises(ub.InputError, match=said) as error:
        unlearn(model, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (nn.Flatten(), "model: has no parameters"),
        (nn.Linear(9, 10), "model: can't answer about an image of shape 1x8x8"),
        (nn.Conv2d(1, 10, 3), "model: must give logits"),
    ],
)
def test_a_model_that_is_no_classifier_of_these_images_is_refused(odd: nn.Module, said: str) -> None:
    with pytest.raises(ub.InputError, match=said):
        unlearn(odd)
