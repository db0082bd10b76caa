"""The paper's Table 2 attacks on random and on telling representations."""

import pytest
import torch
from small_worlds import SEEDS, context, image_data, utility
from unlearnbench.attacks.representation import Representation
from unlearnbench.attacks.representation_sampled import RepresentationSampled

from unlearnbench.adversary.oracle import Oracle
from unlearnbench.metrics.membership import auc
from unlearnbench.plugin import Access, Images
from unlearnbench.settings.scenario import Training
from unlearnbench.splits.world import build_world, challenge

COUNT, LATENT, SHAPE = 150, 20, (1, 4, 4)


class View:
    """`COUNT` members and as many others, known; the same again, hidden. Z is noise plus `shift` for members."""

    shape = SHAPE

    def __init__(self, shift=0.0, linear=False):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (4 * COUNT, *SHAPE), generator=generator, dtype=torch.uint8)
        self.images = Images(pixels, torch.zeros(4 * COUNT, dtype=torch.int64), torch.arange(4 * COUNT))
        self.member = torch.arange(4 * COUNT) % 2 == 0
        self.z = torch.randn(4 * COUNT, LATENT, generator=generator) + shift * self.member[:, None]
        if linear:
            self.z = self.images.scaled.flatten(1) @ torch.randn(16, LATENT, generator=generator)

    def known(self):
        rows = torch.arange(2 * COUNT)
        return self.images.take(rows), self.member[rows]

    def challenge(self):
        return self.images.take(torch.arange(2 * COUNT, 4 * COUNT))

    def after(self, images):
        return self.z[images.ids]

    def before(self, images):
        return -self.z[images.ids]

    def torch_seed(self, *purpose):
        return 5

    def auc(self, evidence):
        return auc(evidence.membership.numpy(), self.member[2 * COUNT :].numpy())


def test_on_random_representations_only_the_training_data_is_told_apart():
    """Table 2's AUC is the attack's own training AUC: it is high where there is nothing to find."""
    view = View()
    evidence = Representation().run(view)
    trained, counted, *_ = evidence.metrics["auc_on_attack_training_data"]
    assert counted == len(view.known()[1])
    held_out = view.auc(evidence)
    assert trained > 0.75
    assert abs(held_out - 0.5) < 3.29 * (1 / (6 * COUNT)) ** 0.5  # 99.9 % without an effect
    assert trained > held_out + 0.15


def test_members_that_differ_are_found_on_held_out_images():
    view = View(shift=1.0)
    assert view.auc(Representation().run(view)) > 0.9


def test_images_are_rebuilt_from_a_linear_representation():
    view = View(linear=True)
    evidence = Representation(Representation.Params(epochs=100, lr=3e-3)).run(view)
    true = view.challenge().scaled
    own = (evidence.images - true).square().mean()
    trivial = (view.known()[0].scaled.mean(0) - true).square().mean()
    assert float(own) < 0.5 * float(trivial)


def test_the_model_before_can_be_asked_instead():
    view, params = View(shift=1.0), {"epochs": 2}
    after, before = (Representation(Representation.Params(model=m, **params)).run(view) for m in ("after", "before"))
    assert not torch.equal(after.membership, before.membership)


def test_it_is_seeded_and_leaves_the_global_stream_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    attack = Representation(Representation.Params(epochs=2))
    first, again = attack.run(View()), attack.run(View())
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.membership, again.membership)


@pytest.mark.parametrize("count", [1, 3])
def test_evidence_on_a_small_world_is_finite_and_of_the_right_shapes(count):
    scenario = utility(attack_images=30, training=Training(epochs=1))
    world = build_world(image_data(), scenario, 1, torch.device("cpu"))
    model = context(scenario, SEEDS[:count], torch.float32).train(world.targets.take(0, 1)) if count == 1 else None
    if model is None:
        from unlearnbench.models.stack import Stack

        model = Stack.of([context(scenario, SEEDS).build(seed) for seed in range(count)])
    pairs = challenge(world, scenario)
    attack = Representation(Representation.Params(epochs=2))
    assert attack.access == Access(level="representation", members=True)
    evidence = attack.run(Oracle(attack.access, world, 4, 1, model, model, challenge=pairs).view())
    assert evidence.images.shape == (60, 1, 6, 6)
    assert evidence.membership.shape == (60,)
    assert evidence.subject == "challenge"
    for part in (evidence.images, evidence.membership):
        assert torch.isfinite(part).all()
        assert 0 <= float(part.min()) <= float(part.max()) <= 1


def test_draws_hide_what_their_mean_tells():
    """With a prior's worth of noise on Z the attack that looks at draws rebuilds less than the one at means."""
    scenario = utility(beta=1, attack_images=60, training=Training(epochs=5))
    world = build_world(image_data(), scenario, 1, torch.device("cpu"))
    model = context(scenario, SEEDS[:1], torch.float32).train(world.targets.take(0, 1))
    pairs = challenge(world, scenario)
    errors = {}
    for attack in (Representation(), RepresentationSampled()):
        assert attack.access.level == "representation"
        evidence = attack.run(Oracle(attack.access, world, 4, 1, model, model, challenge=pairs).view())
        errors[type(attack)] = float((evidence.images[:, 0] - pairs.hidden.scaled[:, 0]).square().mean())
    assert errors[RepresentationSampled] > 1.1 * errors[Representation]
