"""What the plugins of this package are held to. Run after `pip install -e .`."""

from pathlib import Path

import pytest
import torch
from unlearnbench_example.fade import Fade
from unlearnbench_example.stripes import Stripes
from unlearnbench_example.threshold import loss

from unlearnbench.conformance import failures
from unlearnbench.conformance.small_problem import forget
from unlearnbench.registry.base import Kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("example_fade", "method"),
        ("example_threshold", "attack"),
        ("example_stripes", "dataset"),
        ("example_patches", "model"),
    ],
)
def test_it_keeps_every_rule(name: str, kind: Kind) -> None:
    assert failures(name, kind) == []


def test_three_steps_leave_the_third_power() -> None:
    before, after, _ = forget(Fade())
    for name, value in before.params.items():
        torch.testing.assert_close(after.params[name], 0.95**3 * value.expand_as(after.params[name]))


def test_the_loss_is_that_of_the_most_likely_class_before() -> None:
    before, after = torch.tensor([[[-0.1, -2.0]]]), torch.tensor([[[-1.1, -0.5]]])
    assert loss(before, after).tolist() == [[1.0]]


def test_every_direction_has_as_many_images() -> None:
    data = Stripes().load(Path())
    assert data.train.labels.bincount().tolist() == [200] * 4
