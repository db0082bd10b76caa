"""Stacks of any network: vectorised where torch.func can, else one model after the other, with equal numbers."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from unlearnbench.models.architecture import Architecture
from unlearnbench.models.stack import LackingError, Stack
from unlearnbench.settings.scenario import Scenario, Training
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.images import Images
from unlearnbench.training.context import Context

SHAPE, CLASSES, SEEDS = (1, 6, 6), 3, (5, 6, 7)
SCENARIO = Scenario(kind="utility", erased_count=1, beta=0.0, training=Training(epochs=2, batch=4))


class Plain(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(36, 5), nn.Linear(5, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.first(images.flatten(1)).tanh())
        return logits


class Branches(Plain):
    """Its control flow depends on values."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * (2 if images.mean() > 0.5 else 1)


class Drops(Plain):
    """Dropout while training."""

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.dropout(self.first(images.flatten(1)).tanh(), 0.5, self.training)
        logits: Tensor = self.last(hidden)
        return logits


class Normed(Plain):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.norm = nn.BatchNorm1d(36)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.norm(images.flatten(1)))


class Tied(nn.Module):
    """One weight in two places, and a buffer that no state dict holds."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.there, self.back, self.last = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, classes)
        self.back.weight = self.there.weight
        self.register_buffer("shift", torch.full((36,), 0.1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.back(self.there(images.flatten(1) + self.shift).relu()))
        return logits


def architecture(network: Callable[[int], nn.Module]) -> Architecture:
    return Architecture(lambda shape, classes: network(classes))


def sets(replicas: int) -> ErasureSets:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (10, *SHAPE), dtype=torch.uint8, generator=generator)
    rows = torch.arange(10)
    return ErasureSets(
        Images(pixels, rows % CLASSES, rows), rows.expand(replicas, -1), rows[None, :0].expand(replicas, 0)
    )


def trained(of: Architecture, seeds: tuple[int, ...] = SEEDS, replicas: int = 64) -> Stack:
    scenario = SCENARIO.model_copy(update={"replicas": replicas})
    context = Context(scenario, seeds, SHAPE, CLASSES, dtype=torch.float64, architecture=of)
    return context.train(sets(len(seeds)))


def apart(one: Stack, other: Stack) -> float:
    return max(float((value - other.tensors[name]).abs().max()) for name, value in one.tensors.items())


@pytest.mark.parametrize(
    ("network", "looped"),
    [(Plain, (False, False)), (Normed, (False, False)), (Tied, (False, False)), (Branches, (True, True)),
     (Drops, (True, False))],
)  # fmt: skip
def test_a_trial_finds_what_torch_func_can_not_vectorise(
    network: Callable[[int], nn.Module], looped: tuple[bool, bool]
) -> None:
    assert architecture(network).looped(SHAPE, CLASSES) == looped


@pytest.mark.parametrize("network", [Plain, Normed, Tied, Branches, Drops])
def test_models_together_are_models_alone(network: Callable[[int], nn.Module]) -> None:
    of = architecture(network)
    together = trained(of)
    alone = Stack.concatenate([trained(of, (seed,)) for seed in SEEDS])
    assert apart(together, alone) < 1e-9
    assert apart(together, trained(of, replicas=2)) < 1e-9
    pixels = sets(1).pool.pixels
    _, logits = together.outputs(pixels)
    for k in range(len(SEEDS)):
        with torch.no_grad():
            torch.testing.assert_close(logits[k], together.module(k)(pixels.double() / 255))


@pytest.mark.parametrize("network", [Plain, Normed, Tied])
def test_one_after_the_other_gives_the_vectorised_numbers(network: Callable[[int], nn.Module]) -> None:
    in_turn = architecture(network)
    in_turn._looped[SHAPE, CLASSES] = True, True
    assert apart(trained(architecture(network)), trained(in_turn)) < 1e-9


def test_dropout_follows_each_models_seed_and_leaves_torchs_stream_alone() -> None:
    before = torch.random.get_rng_state()
    one, again = trained(architecture(Drops)), trained(architecture(Drops))
    assert apart(one, again) == 0
    assert torch.equal(before, torch.random.get_rng_state())
    assert apart(one, trained(architecture(Plain))) > 1e-3  # it did drop


def test_tied_weights_stay_tied() -> None:
    stack = trained(architecture(Tied))
    assert [name for name in stack.params if "there.weight" in name or "back.weight" in name] == [
        "network.there.weight"
    ]
    module = stack.module(1)
    assert module.network.back.weight is module.network.there.weight  # type: ignore[union-attr]
    assert apart(Stack.of([stack.module(k) for k in range(3)]), stack) == 0


def test_what_a_network_lacks_is_said() -> None:
    stack = Stack.of([architecture(Plain).build(SHAPE, CLASSES, 0)])
    z, logits = stack.outputs(sets(1).pool.pixels)
    assert (z.shape, logits.shape) == ((1, 10, 0), (1, 10, 3))
    own = sets(1).pool.pixels.view(5, 2, *SHAPE)
    assert [part.shape for part in stack.own_outputs(own)] == [(5, 2, 0), (5, 2, 3)]
    assert [part.shape for part in stack.expand(5).own_outputs(own)] == [(5, 2, 0), (5, 2, 3)]
    from unlearnbench.models.stack import Functional

    model = Functional(stack.router(training=False), *stack.first())
    with pytest.raises(LackingError, match="the network has no posterior; a method that needs it says so"):
        model.encode(torch.rand(2, *SHAPE))
    with pytest.raises(LackingError, match="the network has no features"):
        model.classify(torch.rand(2, 5))


class Frozen(Plain):
    """Its first layer is not trained."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        for value in self.first.parameters():
            value.requires_grad_(False)


class Assigns(Plain):
    """Keeps a running mean by assignment, not in place."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.register_buffer("mean", torch.zeros(5))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.first(images.flatten(1)).tanh()
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * hidden.mean(0).detach()
        logits: Tensor = self.last(hidden - self.mean)
        return logits


@pytest.mark.parametrize("looped", [False, True])
def test_frozen_parameters_stay_frozen(looped: bool) -> None:
    of = architecture(Frozen)
    of._looped[SHAPE, CLASSES] = looped, looped
    fresh = Context(SCENARIO, SEEDS, SHAPE, CLASSES, dtype=torch.float64, architecture=of).fresh()
    after = trained(of)
    assert set(after.params) == {"network.last.weight", "network.last.bias"}
    assert torch.equal(after.buffers["network.first.weight"], fresh.buffers["network.first.weight"])
    assert not torch.equal(after.params["network.last.weight"], fresh.params["network.last.weight"])
    module = after.module(0)
    assert {name for name, value in module.named_parameters() if not value.requires_grad} == {
        "network.first.weight", "network.first.bias"
    }  # fmt: skip
    assert apart(Stack.of([after.module(k) for k in range(3)]), after) == 0


def test_a_network_with_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="the network has no parameters to train"):
        architecture(lambda classes: nn.Flatten(2)).build((1, 1, CLASSES), CLASSES, 0)


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("looped", [False, True])
def test_buffers_that_are_assigned_are_kept(replicas: int, looped: bool) -> None:
    of = architecture(Assigns)
    of._looped[SHAPE, CLASSES] = looped, looped
    stack, module = trained(of, SEEDS[:replicas]), Assigns(CLASSES)
    assert float(stack.buffers["network.mean"].abs().min()) > 0
    module.train()(torch.rand(4, *SHAPE))
    assert float(module.mean.abs().min()) > 0  # as outside
    assert not torch.equal(*stack.buffers["network.mean"][[0, -1]]) or replicas == 1


class Drawing(Plain):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.rand(())


class Wide(Plain):
    def __init__(self, classes: int) -> None:
        super().__init__(classes + 1)


class Pair(Plain):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images), images  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("network", "message"),
    [(Drawing, "the network gave two answers to one question"), (Wide, r"the network gave \(3, 4\) for 3 images"),
     (Pair, "the network gave tuple, not a tensor of logits")],
)  # fmt: skip
def test_a_network_whose_numbers_would_mean_nothing_fails_where_it_is_made(
    network: Callable[[int], nn.Module], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        architecture(network).build(SHAPE, CLASSES, 0)


def test_a_representation_that_leads_elsewhere_fails_where_it_is_made() -> None:
    class TwoHeads(Plain):
        def encode(self, images: Tensor) -> Tensor:
            return self.first(images.flatten(1))  # without the tanh

        def classify(self, z: Tensor) -> Tensor:
            logits: Tensor = self.last(z)
            return logits

    with pytest.raises(ValueError, match=r"classify\(encode\(images\)\) is not what calling the network gives"):
        Architecture(lambda shape, classes: TwoHeads(classes), has_features=True).build(SHAPE, CLASSES, 0)
