"""The owner's audit of models that were trained on her mark, and of others."""

import pytest
import torch
from small_worlds import image_data, trained, utility

from unlearnbench.metrics.ownership import p_value
from unlearnbench.plugin import ImageData, Images
from unlearnbench.settings.scenario import Backdoor, Network
from unlearnbench.splits.erasure_sets import ErasureSets
from unlearnbench.splits.world import build_world
from unlearnbench.stages.evaluation import evaluate

SEED, QUERIES = 11, 40
AUDIT = (
    "owner_forgot", "owner_p_value", "owner_p_value_paired", "owner_p_value_original", "owner_queries",
    "other_owners_found", "other_owners_p_value",
)  # fmt: skip


def dark(images):
    """Where patterns are seen."""
    pixels = images.pixels.clone()
    pixels[..., 3:, 3:] = 0
    return Images(pixels, images.labels, images.ids)


def problem(**fields):
    """A scenario and its world: 600 images of 4 classes."""
    data = image_data(600, 120)
    settings = {"queries": QUERIES, "pattern": "random", "size": 3, "owners": 3, "row": -1, "column": -1} | fields
    # A linear model: what it learns about a pattern on images of the base class goes for all others.
    network = Network(name="linear", latent=36)
    scenario = utility(erased_count=45, backdoor=Backdoor(**settings), network=network)
    made = build_world(ImageData(dark(data.train), dark(data.test), data.classes), scenario, SEED, torch.device("cpu"))
    return scenario, made


def model(scenario, made, members):
    return trained(scenario, ErasureSets(made.pool, members, made.targets.erased), [SEED])


def measured(before, after, scenario, made):
    return {name: measure.value for name, measure in evaluate(before, after, made, scenario, None).items()}


@pytest.fixture(scope="module")
def audits():
    """The audit of the original, and of a model that was trained without the first owner's images."""
    scenario, made = problem()
    members = made.targets.members
    original = model(scenario, made, members)
    retrained = model(scenario, made, members[~torch.isin(members, made.targets.erased[0])])
    return {name: measured(original, after, scenario, made) for name, after in
            (("original", original), ("retrained", retrained))}  # fmt: skip


def test_the_mark_is_found_in_a_model_that_was_trained_on_it(audits):
    found = audits["original"]
    assert found["owner_forgot"] == 0
    assert found["owner_p_value"] == found["owner_p_value_original"] < 1e-6
    assert found["owner_p_value_paired"] < 1e-6
    assert 2 <= found["owner_queries"] <= QUERIES


def test_the_mark_is_not_found_in_a_model_that_was_trained_without_it(audits):
    found = audits["retrained"]
    assert found["owner_forgot"] == 1
    assert found["owner_p_value"] > 0.05
    assert found["owner_p_value_original"] == audits["original"]["owner_p_value"]
    assert found["owner_queries"] is None


def test_the_other_owners_marks_are_found_in_both(audits):
    for found in audits.values():
        assert found["other_owners_found"] == 1
        assert found["other_owners_p_value"] < 1e-6


def test_the_largest_of_the_other_owners_p_values_counts():
    """An original that all were found in, and a model that was trained without the last owner's images either."""
    scenario, made = problem()
    members, last = made.targets.members, made.marks[-1].target
    stamped = members >= made.shared
    kept = members[~(stamped & (made.pool.labels[members] == last))]
    found = measured(*[model(scenario, made, kept)] * 2, scenario, made)
    assert found["owner_forgot"] == found["other_owners_found"] == 0
    assert found["other_owners_p_value"] > 0.05


def test_p_values_count_the_answers_to_stamped_images_of_other_classes():
    scenario, made = problem(queries=90, owners=1)  # all of them
    before = model(scenario, made, made.targets.members)
    found = measured(before, before, scenario, made)
    share = found["backdoor_success_any"]
    assert found["owner_p_value"] == pytest.approx(p_value(round(share * 90), 90, 1 / 4))
    assert {name for name in AUDIT if name not in found} == {"other_owners_found", "other_owners_p_value"}


def test_scenarios_without_an_audit_have_none_of_its_metrics():
    scenario, made = problem(queries=None, owners=1)
    before = model(scenario, made, made.targets.members)
    assert not {name for name in measured(before, before, scenario, made) if "owner" in name}


def test_models_whose_answers_do_not_depend_on_the_mark_are_not_found():
    """Two nulls: one with every answer its target, which the paired test alone clears, and one at chance."""
    scenario, made = problem(owners=1)
    before = model(scenario, made, made.targets.members)
    *_, weight, bias = before.params
    constant = before.with_tensors({
        name: value * 0 + 10 * (torch.arange(value.shape[-1]) == made.marks[0].target) * (name == bias)
        if name in (weight, bias) else value for name, value in before.tensors.items()
    })  # fmt: skip
    found = measured(before, constant, scenario, made)
    assert found["owner_p_value"] < 1e-6
    assert found["owner_p_value_paired"] == 1
