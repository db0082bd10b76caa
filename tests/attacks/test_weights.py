"""The attack on weights reads what arithmetic says is there, and nothing where nothing is."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_worlds import leak
from torch import Tensor, nn
from torch.nn import functional as F
from unlearnbench.attacks.weights import Weights

from unlearnbench.adversary.first_layer import moved, silhouettes, single
from unlearnbench.adversary.updates import Updates
from unlearnbench.datasets.digits import Digits
from unlearnbench.plugin import Access, Evidence, Images
from unlearnbench.settings.scenario import Network
from unlearnbench.system.errors import AccessError

DIGITS = Digits(Digits.Params()).load(None).train  # type: ignore[arg-type]
OWN, ERASED = DIGITS.take(torch.arange(600)), DIGITS.take(torch.arange(600, 640))
MEAN = OWN.scaled.mean(0)


@lru_cache
def network(bias: bool = True) -> nn.Module:
    """Trained on the images that are erased, so sure of them that the gradients are small."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48, bias=bias), nn.ReLU(), nn.Linear(48, 10))
    descent = torch.optim.Adam(model.parameters(), lr=1e-2)
    known = DIGITS.take(torch.arange(600, 900))
    for _ in range(100):
        descent.zero_grad()
        F.cross_entropy(model(known.scaled), known.labels).backward()
        descent.step()
    return model.requires_grad_(False)


def ascended(model: nn.Module, images: Images, optimiser: str, steps: int, lr: float) -> dict[str, Tensor]:
    """Changes of a model's weights by gradient ascent on images."""
    own = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    steps_of: Any = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
    descent = steps_of(own.values(), lr=lr)
    for _ in range(steps):
        logits = torch.func.functional_call(model, own, (images.scaled,))
        descent.zero_grad()
        (-F.cross_entropy(logits, images.labels)).backward()
        descent.step()
    return {name: (own[name].detach() - value.detach()) for name, value in model.named_parameters()}


def erasures(size: int = 1, bias: bool = True, **how: Any) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Changes of T erasures of `size` images each, the images f32[T, s, 1, 8, 8] and labels i64[T, s]."""
    model, made = network(bias), []
    sets = torch.arange(len(ERASED) // size * size).view(-1, size)
    for rows in sets:
        made.append(ascended(model, ERASED.take(rows), **how))
    changes = {name: torch.stack([each[name] for each in made]) for name in made[0]}
    return changes, ERASED.scaled[sets], ERASED.labels[sets]


def attacked(changes: dict[str, Tensor], size: int = 1, **params: Any) -> Evidence:
    empty = torch.empty(0)
    view: Any = SimpleNamespace(
        auxiliary=OWN, shape=(1, 8, 8), classes=10, erased_count=size, torch_seed=lambda *_: 3,
        updates=lambda: Updates(empty, empty, empty, empty, empty, empty, changes),
    )  # fmt: skip
    return Weights(Weights.Params(**params)).run(view)


def skill(found: Evidence, images: Tensor) -> float:
    assert found.images is not None
    error = (found.images - images).square().sum()
    return float(1 - error / (MEAN - images).square().sum())


# --- what is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7])
def test_gradient_descent_leaves_the_image_itself(steps: int) -> None:
    changes, images, labels = erasures(optimiser="sgd", steps=steps, lr=0.1)
    found = attacked(changes)
    assert found.images is not None
    assert float((found.images - images).square().mean()) < 1e-6  # what 32 bits leave of small gradients
    assert found.label_scores is not None
    assert bool((found.label_scores.argmax(-1) == labels).all())


@pytest.mark.parametrize(("steps", "least"), [(1, 0.9), (5, 0.9), (50, 0.8)])
def test_adams_epsilon_leaves_grey_levels_and_the_silhouette_is_exact(steps: int, least: float) -> None:
    changes, images, labels = erasures(optimiser="adam", steps=steps, lr=1e-3)
    found = attacked(changes)
    assert found.images is not None
    assert bool(((found.images > 0) == (images > 0)).all())
    assert skill(found, images) > least
    assert found.label_scores is not None
    assert float((found.label_scores.argmax(-1) == labels).float().mean()) > 0.9


def test_without_biases_the_brightest_pixel_stands_in() -> None:
    changes, images, _ = erasures(bias=False, optimiser="sgd", steps=3, lr=0.1)
    assert skill(attacked(changes), images) > 0.9


def test_all_models_of_an_ensemble_are_read() -> None:
    """Of three models the second has changed."""
    changes, images, _ = erasures(optimiser="sgd", steps=1, lr=0.1)
    of_three = {
        f"models.{model}.{name}": value if model == 1 else torch.zeros_like(value)
        for model in range(3)
        for name, value in changes.items()
    }
    assert skill(attacked(of_three), images) > 0.99


def test_what_a_unit_saw_alone_is_read_from_a_mixture() -> None:
    """Four units for each image alone, the others for both."""
    images = ERASED.scaled[:2].flatten(1).double()
    generator = torch.Generator().manual_seed(5)
    backwards = torch.rand(2, 20, generator=generator, dtype=torch.float64) + 0.1
    backwards[0, 4:8] = backwards[1, :4] = 0
    weights, biases = backwards.T @ images, backwards.sum(0)
    found = silhouettes(moved(weights, (OWN.scaled.flatten(1) == 0).all(0)), biases, 2, 5)
    assert [int(units.sum()) for _, units in found] == [4, 4]
    for pixels, units in found:
        read = single(weights[units], biases[units], pixels)
        assert read.are_grey
        match = [bool((pixels == (image > 0)).all()) for image in images]
        torch.testing.assert_close(read.values, images[match.index(True)][pixels])
    changes = {"0.weight": weights[None].float(), "0.bias": biases[None].float()}
    sets = attacked(changes, size=2).images
    assert sets is not None
    assert min(float((sets[0].flatten(1) - images[order]).abs().max()) for order in ([0, 1], [1, 0])) < 1e-5


def test_small_noise_on_weights_leaves_the_silhouette() -> None:
    changes, images, _ = erasures(optimiser="adam", steps=5, lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    for noise, least in ((1e-4, 0.5), (1.0, -0.05)):
        seen = {name: value + noise * torch.randn(value.shape, generator=generator) for name, value in changes.items()}
        assert skill(attacked(seen), images) > least


# --- what is not there ----------------------------------------------------------------------------------------------


def test_no_change_is_answered_with_the_mean_image() -> None:
    changes = {name: torch.zeros(3, *value.shape) for name, value in network().named_parameters()}
    found = attacked(changes)
    assert found.images is not None
    torch.testing.assert_close(found.images, MEAN.expand(3, 1, 1, 8, 8))


def test_noise_for_the_change_is_no_image() -> None:
    generator = torch.Generator().manual_seed(1)
    changes = {name: torch.randn(40, *value.shape, generator=generator) for name, value in network().named_parameters()}
    assert skill(attacked(changes), ERASED.scaled[:, None]) < 0.05


def test_the_changes_of_other_erasures_are_no_help() -> None:
    changes, images, _ = erasures(optimiser="adam", steps=5, lr=1e-3)
    others = {name: value.roll(1, 0) for name, value in changes.items()}
    assert skill(attacked(others), images) < 0


def test_remaining_images_beside_leave_nothing_to_read() -> None:
    """All images at once have moved more pixels than one image has."""
    model = network()
    changes = ascended(model, DIGITS.take(torch.arange(640, 900)), "adam", 5, 1e-3)
    found = attacked({name: value[None] for name, value in changes.items()})
    assert found.images is not None
    torch.testing.assert_close(found.images[0, 0], MEAN)


def test_a_pixel_that_only_remaining_images_light_is_no_noise() -> None:
    weights, never = torch.zeros(8, 20, dtype=torch.float64), torch.zeros(20, dtype=torch.bool)
    never[15:] = True
    weights[:, :10] = 1.0
    weights[:, 15] = 1e-3
    assert bool((moved(weights, never).any(0) == (weights != 0).any(0)).all())


def test_gradients_that_nearly_vanish_give_finite_images() -> None:
    changes, _, _ = erasures(optimiser="adam", steps=5, lr=1e-3)
    for value in (changes["1.weight"], changes["1.bias"]):
        value[::2] *= 1e-38  # to the smallest that 32 bits hold
    changes["1.weight"][1, :, 10] = changes["1.bias"][1] * 1e-30
    found = attacked(changes).images
    assert found is not None
    assert bool(torch.isfinite(found).all())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_images_in_black_and_white_need_no_factor() -> None:
    white = Images((OWN.pixels > 128).to(torch.uint8) * 255, OWN.labels, OWN.ids)
    changes, _, _ = erasures(optimiser="adam", steps=5, lr=1e-3)
    empty = torch.empty(0)
    view: Any = SimpleNamespace(auxiliary=white, shape=(1, 8, 8), classes=10, erased_count=1, torch_seed=lambda *_: 3,
                                updates=lambda: Updates(*[empty] * 6, changes))  # fmt: skip
    found = Weights(Weights.Params()).run(view).images
    assert found is not None
    assert bool(torch.isfinite(found).all())


# --- where it can't be used -----------------------------------------------------------------------------------------


def test_a_network_whose_first_layer_takes_no_image_is_refused() -> None:
    attack = Weights(Weights.Params())
    assert "unlearning_inversion" in str(attack.skip(leak(network=Network(name="cnn"))))
    assert attack.skip(leak()) is None
    with pytest.raises(AccessError, match="takes all 64 pixels"):
        attacked({"conv.weight": torch.zeros(2, 4, 1, 3, 3), "conv.bias": torch.zeros(2, 4)})


def test_a_later_layer_with_as_many_inputs_as_pixels_is_not_read() -> None:
    changes = {"0.weight": torch.zeros(2, 4, 1, 3, 3), "0.bias": torch.zeros(2, 4), "3.weight": torch.ones(2, 10, 64)}
    with pytest.raises(AccessError, match="takes all 64 pixels"):
        attacked(changes)


def test_the_labels_of_a_set_are_the_classes_that_stand_out() -> None:
    bias = torch.tensor([[-1.0, 1, 1, -1, 1, 1, 1, 1, 1, 1]])
    changes = {"1.weight": torch.zeros(1, 48, 64), "1.bias": torch.zeros(1, 48), "3.bias": bias}
    scores = attacked(changes, size=3).label_scores
    assert scores is not None
    assert set(scores[0].argmax(-1).tolist()) == {0, 3}


def test_grey_levels_that_all_units_agree_on_need_no_likely_silhouette() -> None:
    """An image without black pixels, of which none of her own has so many."""
    image = Images((ERASED.pixels[:1] // 2 + 60), ERASED.labels[:1], ERASED.ids[:1])
    made = ascended(network(), image, "sgd", 1, 0.1)
    found = attacked({name: value[None] for name, value in made.items()})
    assert skill(found, image.scaled[None]) > 0.99


@pytest.mark.parametrize("defence", [{"rounding": "bfloat16"}, {"noise": 0.1}])
def test_defences_are_of_weights(defence: dict[str, Any]) -> None:
    assert Weights(Weights.Params(**defence)).access == Access(level="parameters", **defence)
    with pytest.raises(ValueError, match="only level parameters"):
        Access(**defence)
