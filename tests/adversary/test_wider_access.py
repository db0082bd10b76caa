"""Models, questions to all targets, the model after alone, and candidates of three kinds: each only where declared."""

import pytest
import torch
from experiments import Experiment
from unlearnbench.methods.crfu import Crfu

from unlearnbench.plugin import Access, Evidence
from unlearnbench.settings.scenario import Level
from unlearnbench.stages.attacking import scores_of, truth_for
from unlearnbench.stages.result_checks import PluginError
from unlearnbench.stages.scoring import compared
from unlearnbench.system.errors import AccessError

IMAGES = torch.randint(0, 256, (7, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def crfu() -> Experiment:
    return Experiment(Crfu())


# --- differentiable models ------------------------------------------------------------------------------------------


def test_models_are_those_that_answer(crfu):
    view = crfu.view(level="parameters", budget=100)
    before, after = view.models("before"), view.models("after")
    assert (before.replicas, after.replicas) == (1, 4)
    for models, which in ((before, "before"), (after, "after")):
        answers = view.ask(which, IMAGES)
        for target in range(4):
            model = models.module(target if models.replicas > 1 else 0)
            logits = model(IMAGES.float() / 255)
            torch.testing.assert_close(answers[target], logits.log_softmax(1).detach(), rtol=1e-4, atol=1e-5)
    changes = view.updates().parameter_changes
    for name, change in changes.items():
        assert torch.equal(change, after.params[name] - before.params[name])


def test_models_are_differentiable_copies(crfu):
    oracle = crfu.oracle(level="parameters")
    view = oracle.view()
    model = view.models("after").module(1)
    images = IMAGES.float().div(255).requires_grad_()
    model(images).square().sum().backward()
    assert float(images.grad.abs().max()) > 0
    assert all(value.grad is not None for value in model.parameters() if value.requires_grad)
    with torch.no_grad():
        for value in view.models("after").params.values():
            value.zero_()
    assert all(float(value.abs().max()) > 0 for value in view.models("after").params.values())


@pytest.mark.parametrize("level", ["representation", "log_probabilities", "probabilities", "top_k", "label"])
def test_models_need_level_parameters(crfu, level: Level):
    with pytest.raises(AccessError, match=f"models needs level 'parameters' .* declares '{level}'"):
        crfu.view(level=level, budget=5).models("after")


def test_models_of_a_network_without_a_name_are_refused(crfu):
    view = crfu.view(level="parameters")
    view._network = None
    with pytest.raises(AccessError, match="no name"):
        view.models("before")


@pytest.mark.parametrize("defence", [{"rounding": "bfloat16"}, {"noise": 0.5}])
def test_defences_are_on_the_changes_as_on_the_models(crfu, defence):
    shown, plain = crfu.view(level="parameters", **defence), crfu.view(level="parameters")
    before, after = shown.models("before"), shown.models("after")
    changes = shown.updates().parameter_changes
    for name, change in changes.items():
        assert torch.equal(change, after.params[name] - before.params[name])
    name = next(iter(changes))  # drawn first, where a shared stream would show
    drawn = {which: shown.models(which).params[name] - plain.models(which).params[name]
             for which in ("before", "after")}  # fmt: skip
    if "noise" not in defence:
        assert all(torch.equal(value, value.bfloat16().float()) for value in after.params.values())
        return
    noises = torch.cat([drawn["before"], drawn["after"]]).flatten(1)
    assert len(noises.round(decimals=5).unique(dim=0)) == 1 + 4  # every model has its own
    every = torch.cat([(after.params[name] - plain.models("after").params[name]).flatten() for name in changes])
    assert float(every.std()) == pytest.approx(0.5, rel=0.1)


# --- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["representation", "log_probabilities", "label"])
def test_all_targets_answer_at_the_declared_level(crfu, level: Level):
    view = crfu.view(level=level, budget=400)
    shared, first = view.ask("after", IMAGES), view.after(view.auxiliary)
    assert shared.shape == (4, 7, 5 if level == "representation" else 4)
    assert torch.allclose(view.ask("after", view.auxiliary.pixels[:9])[0], first[:9], rtol=1e-4, atol=1e-5)
    assert torch.equal(view.ask("before", IMAGES)[0], view.ask("before", IMAGES)[3])  # all start from one original


def test_each_target_may_be_asked_about_images_of_its_own(crfu):
    view = crfu.view(budget=100)
    own = torch.stack([IMAGES.roll(shift, 0) for shift in range(4)])
    answers, shared = view.ask("after", own), view.ask("after", IMAGES)
    for target in range(4):
        torch.testing.assert_close(answers[target], shared[target].roll(target, 0), rtol=1e-4, atol=1e-5)
    before = view.ask("before", own)
    torch.testing.assert_close(before[2], view.ask("before", IMAGES)[0].roll(2, 0), rtol=1e-4, atol=1e-5)


def test_images_may_be_floats(crfu):
    view = crfu.view(budget=30)
    floats = view.ask("after", IMAGES.float() / 255)
    torch.testing.assert_close(floats, view.ask("after", IMAGES), rtol=1e-4, atol=1e-5)
    between = ((IMAGES.float() + 0.4) / 255).clamp(0, 1)
    assert not torch.equal(view.ask("after", between), floats)  # and are not rounded


def test_every_image_counts_and_the_budget_ends(crfu):
    oracle = crfu.oracle(budget=15)
    view = oracle.view()
    view.ask("before", IMAGES)
    view.ask("after", IMAGES.expand(4, -1, -1, -1, -1))
    assert oracle.asked["budget"] == 14
    with pytest.raises(AccessError, match=r"budget is 15 images per target, 14 are asked and 7 more wanted"):
        view.ask("after", IMAGES)
    view.ask("after", IMAGES[:1])
    scores = scores_of(Evidence(membership=torch.zeros(4, 4)), _truth(crfu, Evidence()), oracle)
    assert (scores["queries"].value, scores["queries"].n) == (15.0, 4)


def test_questions_to_the_first_target_alone_count_too(crfu):
    view = crfu.view(budget=10)
    images = view.probe
    view.after(images)
    with pytest.raises(AccessError, match="budget is 10 images per target, 10 are asked and 10 more wanted"):
        view.before(images)


def test_without_a_budget_nothing_is_asked_of_all_targets(crfu):
    for which in ("before", "after"):
        with pytest.raises(AccessError, match="ask needs a `budget`"):
            crfu.view().ask(which, IMAGES)


@pytest.mark.parametrize(
    ("pixels", "what"),
    [
        (IMAGES[0], "shape"), (IMAGES[:, :, :5], "shape"), (IMAGES.expand(3, -1, -1, -1, -1), "shape"),
        (IMAGES.float(), "from 0 to 1"), (IMAGES.float() * torch.nan, "from 0 to 1"), (IMAGES.long(), "from 0 to 1"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(crfu, pixels, what):
    oracle = crfu.oracle(budget=50)
    with pytest.raises(AccessError, match=what):
        oracle.view().ask("after", pixels)
    assert oracle.asked["budget"] == 0


# --- after only -----------------------------------------------------------------------------------------------------


def test_who_sees_the_model_after_only_gets_nothing_from_before(crfu):
    view = crfu.view(before=False, level="parameters", shadows=10, budget=10)
    whole = crfu.view(level="parameters", shadows=10).updates()
    for updates in (view.updates(), view.shadow_updates().updates):
        assert len(updates.probe_before) == len(updates.candidates_before) == 0
        assert updates.parameter_changes == {}
    assert torch.equal(view.updates().candidates_after, whole.candidates_after)
    assert view.models("after").replicas == 4
    for ask in (
        lambda: view.models("before"),
        lambda: view.ask("before", IMAGES),
        lambda: view.before(view.auxiliary),
    ):
        with pytest.raises(AccessError, match="before=False"):
            ask()


# --- three kinds ----------------------------------------------------------------------------------------------------


def _truth(crfu: Experiment, evidence: Evidence, **access):
    from types import SimpleNamespace

    oracle = crfu.oracle(**access)
    seen = SimpleNamespace(world=crfu.world, targets=oracle._targets, classes=4)
    return truth_for(evidence, seen, None, 9)  # type: ignore[arg-type]


def test_remaining_candidates_stand_beside_the_erased_and_the_never_seen(crfu):
    updates, plain = crfu.view(remaining=True).updates(), crfu.view().updates()
    truth = _truth(crfu, Evidence(), remaining=True)
    assert updates.candidates.shape[:2] == truth.membership.shape == (4, 6)
    assert truth.remaining.sum(1).tolist() == truth.membership.sum(1).tolist() == [2] * 4
    unerased = {bytes(image) for image in crfu.world.images("unerased").pixels.flatten(1).numpy()}
    for target in range(4):
        remaining = updates.candidates[target][truth.remaining[target]].flatten(1)
        assert {bytes(image) for image in remaining.numpy()} <= unerased
        labels = [sorted(updates.candidate_labels[target][kind].tolist())
                  for kind in (truth.remaining[target], truth.membership[target])]  # fmt: skip
        assert labels[0] == labels[1]
        others = ~truth.remaining[target]
        assert sorted(updates.candidates[target][others].flatten(1).tolist()) == sorted(
            plain.candidates[target].flatten(1).tolist()
        )
    answers = crfu.view(remaining=True, budget=99).ask("after", updates.candidates)
    torch.testing.assert_close(answers, updates.candidates_after, rtol=1e-4, atol=1e-5)
    assert len(truth.remaining.unique(dim=0)) > 1  # mixed among the others
    assert _truth(crfu, Evidence()).remaining is None


def test_each_pair_of_kinds_is_scored_by_itself(crfu):
    truth = _truth(crfu, Evidence(), remaining=True)
    kinds = truth.membership.float() * 2 + truth.remaining.float()  # erased 2, remaining 1, never seen 0
    oracle = crfu.oracle(remaining=True)
    erased = scores_of(Evidence(membership=kinds), truth, oracle)
    assert (erased["auc"].value, erased["auc_remaining"].value) == (1.0, 1.0)
    assert erased["auc"].n == 16
    fooled = scores_of(Evidence(membership=-kinds.remainder(2)), truth, oracle)  # can't tell erased from never seen
    assert (fooled["auc"].value, fooled["auc_remaining"].value) == (0.5, 1.0)
    remaining = Evidence(membership=kinds.remainder(2), subject="remaining")
    scores = scores_of(remaining, truth, oracle)
    assert (scores["auc"].value, "auc_remaining" in scores) == (1.0, False)
    found = compared(remaining._replace(baseline=kinds / 2), truth)
    assert found.members.sum(1).tolist() == [2] * 4
    assert found.baseline.max() == 0.5  # erased images are left out


def test_evidence_on_remaining_images_needs_them(crfu):
    with pytest.raises(PluginError, match="access `remaining`"):
        _truth(crfu, Evidence(membership=torch.zeros(4, 4), subject="remaining"))


@pytest.mark.parametrize("access", [{"budget": 3}, {"remaining": True}])
def test_draws_of_single_models_are_not_asked_of_all(access):
    with pytest.raises(ValueError, match="mean of p"):
        Access(inference="sample", **access)


@pytest.mark.parametrize("defence", [{"rounding": "float16"}, {"noise": -1.0}, {"noise": float("nan")}])
def test_a_defence_that_would_defend_nothing_is_refused(defence):
    with pytest.raises(ValueError, match="finite number from 0 on"):
        Access(level="parameters", **defence)


def test_what_an_attack_learns_from_is_recorded_as_its_tier():
    assert Access(level="parameters").tier_recorded == "no_shadows"
    assert Access(level="label", before=False, budget=5).tier_recorded == "after_only"
    assert Access(shadows=10).tier_recorded == "same"
    assert Access(members=True).tier_recorded is None


def test_defences_of_weights_are_not_on_those_of_shadows():
    with pytest.raises(ValueError, match="not on those of shadows"):
        Access(level="parameters", shadows=10, noise=0.1)


def test_a_negative_budget_is_refused():
    with pytest.raises(ValueError, match="budget of -1"):
        Access(budget=-1)
