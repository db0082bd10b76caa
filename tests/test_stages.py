"""The contract that a method's result is held to."""

import pytest
import torch
from small_worlds import SEEDS, context, erasures, trained, utility

from unlearnbench.plugin import Method
from unlearnbench.stages import PluginError, erase


def erased_by(method, count=3):
    sets, scenario = erasures(), utility()
    before = trained(scenario, sets, SEEDS[:1], torch.float32)
    return erase(method, before, sets.take(0, count), context(scenario, SEEDS[:count], torch.float32)), before


class Harmless(Method):
    name = "harmless"

    def unlearn(self, model, splits, context):
        return model


class WritesImages(Harmless):
    def unlearn_many(self, before, sets, context):
        sets.pool.pixels[0] = 0
        return before.expand(sets.replicas)


class WritesOriginal(Harmless):
    def unlearn_many(self, before, sets, context):
        next(iter(before.params.values())).zero_()
        return before.expand(sets.replicas)


class NotFinite(Harmless):
    def unlearn(self, model, splits, context):
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        return model


class TooFew(Harmless):
    def unlearn_many(self, before, sets, context):
        return before.expand(1)


def test_a_method_that_keeps_the_contract_passes():
    after, before = erased_by(Harmless())
    assert after.replicas == 3
    assert all(torch.equal(value[2], before.tensors[name][0]) for name, value in after.tensors.items())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WritesImages(), "wrote into the images"),
        (WritesOriginal(), "changed the original model"),
        (NotFinite(), "not finite in 3 of 3 models"),
        (TooFew(), "returned 1 models for 3 erasures"),
    ],
)
def test_a_method_that_breaks_the_contract_fails_with_what_it_did(method, message):
    with pytest.raises(PluginError, match=message):
        erased_by(method)
