"""The table of benchmarks is that of the published results, they tell nothing private, and both sides do the same."""

from __future__ import annotations

import getpass
import json
import platform
import re
from pathlib import Path

import jobs
import plain_jobs
import pytest
import table
import torch
from torch import Tensor
from unlearnbench.methods.crfu import Crfu

from unlearnbench.models.architecture import bottleneck
from unlearnbench.models.stack import Functional, Router
from unlearnbench.plugin import Batch, Models
from unlearnbench.settings.scenario import Network, Scenario, Training
from unlearnbench.training.objectives import InformationBottleneckLoss

PUBLISHED = sorted(table.RESULTS.glob("*.json"))


def test_the_table_is_that_of_the_published_results() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.render(table.RESULTS)


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_results_name_no_machine_and_no_place_on_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    assert set(content) == {"machine_info", "commit_info", "datetime", "version", "benchmarks"}
    assert "data" not in content["benchmarks"][0]["stats"]
    assert not re.search(r'"(/|~|[A-Za-z]:\\\\)|/(home|root|tmp|Users)/', text)
    assert not [name for name in (platform.node(), getpass.getuser()) if f'"{name}"' in text]


# --- both sides do the same ------------------------------------------------------------------------------------------


class TorchNoise:
    """The numbers that torch.randn_like would draw."""

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape)


def test_the_plain_script_has_the_same_model_and_losses() -> None:
    plain, fixed = plain_jobs.mlp(), plain_jobs.mlp()
    ours = [bottleneck(Network()).build(jobs.MNIST, jobs.CLASSES, seed) for seed in (0, 1)]
    with torch.no_grad():
        for script, model in zip((plain, fixed), ours, strict=True):
            for first, second in zip(script.parameters(), model.parameters(), strict=True):
                first.copy_(second)
    scenario = Scenario(kind="utility", erased_count=20)
    images, labels = plain_jobs.noise_images(20, jobs.MNIST).tensors
    batch = Batch(images, labels, torch.ones(20), torch.arange(20))
    functional = [Functional(Router(model), dict(model.named_parameters()), {}) for model in ours]
    models = Models(*functional, scenario, 20, 0)

    training = InformationBottleneckLoss(scenario.beta, scenario.training)
    for theirs, method in (
        (lambda: plain_jobs.training_loss(plain, images, labels)[0], training),
        (lambda: plain_jobs.crfu_loss(plain, fixed, images, labels)[0], Crfu()),
    ):
        torch.manual_seed(0)
        expected = method.loss(models, batch, batch, None, TorchNoise())
        torch.manual_seed(0)
        torch.testing.assert_close(theirs(), expected)


def test_the_plain_script_has_the_same_settings() -> None:
    training, network = Training(), Network()
    assert (training.batch, training.lr, training.clip) == (plain_jobs.BATCH, plain_jobs.LR, plain_jobs.CLIP)
    assert (network.hidden, network.latent) == (plain_jobs.HIDDEN, plain_jobs.LATENT)
    assert (Scenario.model_fields["beta"].default, Crfu.Params().beta_u) == (plain_jobs.BETA, plain_jobs.BETA_U)


def test_the_plain_script_has_the_same_resnet() -> None:
    ours = bottleneck(Network(name="resnet18")).build(jobs.COLOUR, jobs.CLASSES, 0)
    assert [p.shape for p in plain_jobs.resnet18().parameters()] == [p.shape for p in ours.parameters()]
