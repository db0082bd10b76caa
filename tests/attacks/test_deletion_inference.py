"""Deletion inference on learners whose change by a deletion is known: nearest neighbours and ridge regression."""

import math

import pytest
import torch
from small_worlds import leak, utility
from torch.nn import functional as F
from unlearnbench.attacks.deletion_inference import DeletionInference

from unlearnbench.adversary.change_statistics import STATISTICS, statistic
from unlearnbench.metrics.membership import auc, balanced_accuracy
from unlearnbench.plugin import Images, Updates

TARGETS, PROBES, CLASSES, SIDE = 60, 50, 3, 6
LABELLED = ("margin", "loss", "posterior")


class View:
    """Holds outputs; the probes' and the auxiliary images are noise."""

    classes = CLASSES

    def __init__(self, updates, probe, erased_count=1):
        self._updates, self.probe, self.erased_count = updates, probe, erased_count
        self.auxiliary = images(torch.Generator().manual_seed(3), 90)

    def updates(self):
        return self._updates


def images(random, count):
    pixels = torch.randint(0, 256, (count, 1, SIDE, SIDE), generator=random, dtype=torch.uint8)
    return Images(pixels, torch.randint(0, CLASSES, (count,), generator=random), torch.full((count,), -1))


def attack(view, **params):
    return DeletionInference(DeletionInference.Params(**params)).run(view)


def auc_of(evidence, erased):
    return auc(evidence.membership.flatten().numpy(), erased.flatten().numpy())


def planted(shift, noise=0.0, seed=0, probes=PROBES):
    """Two candidates each, of which one was erased: the logit of its label falls by `shift`."""
    random = torch.Generator().manual_seed(seed)
    logits, moved = (torch.randn(TARGETS, 2, CLASSES, generator=random) for _ in range(2))
    labels = torch.randint(0, CLASSES, (TARGETS, 2), generator=random)
    erased = torch.rand(TARGETS, 2, generator=random).argsort(1) == 0
    after = logits + noise * moved - shift * erased[..., None] * F.one_hot(labels, CLASSES)
    probe = torch.randn(1, probes, CLASSES, generator=random)
    probe_after = probe + noise * torch.randn(TARGETS, probes, CLASSES, generator=random)
    found = [values.log_softmax(-1) for values in (probe, probe_after, logits, after)]
    updates = Updates(found[0], found[1], torch.empty(0), labels, found[2], found[3])
    return View(updates, images(random, probes)), erased


# --- planted leaks and nulls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses", STATISTICS)
def test_a_label_that_lost_is_found_without_shadows(uses):
    view, erased = planted(shift=3.0, noise=0.1)
    assert auc_of(attack(view, uses=uses), erased) > 0.9


@pytest.mark.parametrize("uses", STATISTICS)
def test_equal_models_give_a_half_by_ties_and_trivial_reconstructions(uses):
    view, erased = planted(shift=0.0)
    evidence = attack(view, uses=uses)
    assert auc_of(evidence, erased) == 0.5
    assert balanced_accuracy(evidence.membership.flatten(), erased.flatten(), evidence.threshold) == 0.5
    assert evidence.metrics["compliance_change"].value == 0
    assert torch.equal(evidence.images, view.auxiliary.scaled.mean(0).expand(TARGETS, 1, -1, -1, -1))
    assert bool((evidence.label_scores.argmax(-1) == view.auxiliary.labels.mode().values).all())


@pytest.mark.parametrize("uses", STATISTICS)
def test_noise_for_the_change_gives_a_half(uses):
    view, erased = planted(shift=0.0, noise=0.5)
    interval = 3.29 * math.sqrt((2 * TARGETS + 1) / (12 * TARGETS**2))  # 99.9 % (Mann-Whitney)
    assert abs(auc_of(attack(view, uses=uses), erased) - 0.5) < interval


def test_other_labels_are_no_use():
    """With the labels of other candidates the label-aware statistics lose what they had; `change` looks at none."""
    view, erased = planted(shift=3.0, noise=0.1)
    turned = (view.updates().candidate_labels + 1) % CLASSES
    wrong = View(view.updates()._replace(candidate_labels=turned), view.probe)
    for uses in LABELLED:
        assert auc_of(attack(wrong, uses=uses), erased) < 0.5
    assert torch.equal(attack(wrong, uses="change").membership, attack(view, uses="change").membership)


def test_the_threshold_lets_five_per_cent_of_never_erased_images_through():
    view, _ = planted(shift=0.0, noise=0.5, probes=400)
    evidence, updates = attack(view, uses="margin"), view.updates()
    before = updates.probe_before.expand_as(updates.probe_after)
    lost = statistic("margin", before, updates.probe_after, view.probe.labels, "log_probabilities")
    assert float((lost > evidence.threshold).double().mean()) == pytest.approx(0.05, abs=1e-3)
    assert float((evidence.membership > evidence.threshold).double().mean()) == pytest.approx(0.05, abs=0.065)


# --- learners with closed forms --------------------------------------------------------------------------------------


def nearest(members, labels, asked):
    """Labels, one-hot, that a nearest neighbour gives."""
    return F.one_hot(labels[torch.cdist(asked, members).argmin(1)], CLASSES).float()


def test_where_a_nearest_neighbours_answer_changed_lies_the_record():
    """1-NN at level `label`: an erased record's own answer changes iff its next neighbour has another label, and probes
    change their answer only where the record was nearest."""
    random = torch.Generator().manual_seed(0)
    pool = images(random, 400)
    points = pool.pixels.flatten(1).double()[:, :2]  # in a plane, so that probes lie in the cells of erased records
    members, unseen, probe = torch.arange(40), torch.arange(40, 80), torch.arange(80, 400)
    before, rows = [], []
    for record in members:
        rest, other = members[members != record], unseen[record]
        asked = points[torch.cat([torch.stack([record, other]), probe])]
        answers = [nearest(points[kept], pool.labels[kept], asked) for kept in (members, rest)]
        before.append(answers)
        rows.append(torch.stack([record, other]))
    first, second = (torch.stack([answers[k] for answers in before]) for k in (0, 1))
    labels = pool.labels[torch.stack(rows)]
    updates = Updates(first[:1, 2:], second[:, 2:], torch.empty(0), labels, first[:, :2], second[:, :2])
    view = View(updates, pool.take(probe))
    found = attack(view, observe="label", uses="posterior")
    flipped = torch.stack([
        pool.labels[rest[torch.cdist(points[record][None], points[rest]).argmin()]] != pool.labels[record]
        for record in members for rest in [members[members != record]]
    ])  # fmt: skip
    assert torch.equal(found.membership[:, 0] > 0, flipped)
    changed = (second[:, 2:] != first[:, 2:]).any(-1).any(1)
    assert 5 < int(changed.sum()) < 40
    own = torch.cdist(points[probe], points[members]).argmin(1)
    for record in members[changed]:
        answer = (view.probe.scaled == found.images[record, 0]).flatten(1).all(1).nonzero()[0, 0]
        assert int(own[answer]) == int(record)
    share = (second[:, 2:] != first[:, 2:]).any(-1).double().mean()
    assert found.metrics["compliance_change"].value == pytest.approx(float(share))


def test_ridge_regression_loses_exactly_its_leverage_times_the_residual():
    """f(x) - f_without(x) = h (y - f_without(x)), h = x' A^-1 x: always a loss for the label of the erased record."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=random, dtype=torch.float64)
    y = F.one_hot(torch.randint(0, CLASSES, (30,), generator=random), CLASSES).double()
    own = torch.eye(4, dtype=torch.float64)
    gram = x.T @ x + own
    weights = torch.linalg.solve(gram, x.T @ y)
    first, second, expected = [], [], []
    for record in range(30):
        rest = torch.arange(30) != record
        without = torch.linalg.solve(x[rest].T @ x[rest] + own, x[rest].T @ y[rest])
        first.append(x[record] @ weights)
        second.append(x[record] @ without)
        leverage = x[record] @ torch.linalg.solve(gram, x[record])
        expected.append((leverage * (y[record] - x[record] @ without))[y[record].argmax()])
    labels = y.argmax(1)
    lost = statistic("posterior", torch.stack(first), torch.stack(second), labels, "probabilities")
    torch.testing.assert_close(lost, torch.stack(expected), rtol=1e-10, atol=1e-12)
    assert bool((lost[torch.stack(second).gather(1, labels[:, None])[:, 0] < 1] > 0).all())


# --- what it declares ------------------------------------------------------------------------------------------------


def test_sets_are_rebuilt_from_as_many_probes():
    view, _ = planted(shift=0.0, noise=0.5)
    view.erased_count = 4
    evidence = attack(view)
    assert evidence.images.shape == (TARGETS, 4, 1, SIDE, SIDE)
    assert evidence.label_scores.shape == (TARGETS, 4, CLASSES)
    few, _ = planted(shift=0.0, noise=0.5, probes=3)
    few.erased_count = 4
    assert attack(few).images.shape == (TARGETS, 4, 1, SIDE, SIDE)


@pytest.mark.parametrize("level", ["probabilities", "top_k", "label"])
def test_every_level_of_answers_has_all_statistics(level):
    view, erased = planted(shift=4.0, noise=0.05)
    updates = view.updates()
    parts = {name: getattr(updates, name).exp() for name in Updates._fields if name.endswith(("before", "after"))}
    if level == "label":
        parts = {name: F.one_hot(value.argmax(-1), CLASSES).float() for name, value in parts.items()}
    seen = View(updates._replace(**parts), view.probe)
    for uses in STATISTICS:
        assert auc_of(attack(seen, observe=level, uses=uses), erased) > (0.6 if level == "label" else 0.9)


def test_representations_move_and_have_no_margin():
    view, _ = planted(shift=3.0)
    evidence = attack(view, observe="representation", uses="change")
    moved = view.updates().candidates_after - view.updates().candidates_before
    torch.testing.assert_close(evidence.membership, moved.double().norm(dim=-1))
    assert "compliance_change" not in evidence.metrics
    for uses in LABELLED:
        params = DeletionInference.Params(observe="representation", uses=uses)
        assert "uses change" in DeletionInference(params).skip(leak())


def test_it_needs_no_shadows_and_a_leak():
    access = DeletionInference(DeletionInference.Params(temperature=2)).access
    assert (access.level, access.temperature, access.draw) == ("log_probabilities", 2, None)
    assert DeletionInference().skip(leak()) is None
    assert "leak" in DeletionInference().skip(utility())
