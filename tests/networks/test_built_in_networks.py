"""The networks that come with the package."""

from pathlib import Path

import pytest
import torch

from unlearnbench.conformance import failures
from unlearnbench.networks.cnn import Cnn
from unlearnbench.networks.factory import Factory
from unlearnbench.networks.plain_mlp import PlainMlp
from unlearnbench.networks.plain_resnet18 import PlainResnet18
from unlearnbench.networks.torchvision_model import TorchvisionModel
from unlearnbench.networks.vit import Vit
from unlearnbench.registry.registry import load
from unlearnbench.settings.validation import check, within
from unlearnbench.system.errors import InputError

DIGITS = (1, 8, 8)


def numbers(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["plain_resnet18[norm=group]", "torchvision_model[model=squeezenet1_1,last_layer=false]"],
)
def test_a_network_keeps_every_rule_with_other_parameters(name: str) -> None:
    assert failures(name, "model") == []


def test_the_sizes_are_those_of_the_literature() -> None:
    assert numbers(PlainResnet18(PlainResnet18.Params(stem="imagenet")).build((3, 224, 224), 1000)) == 11_689_512
    # 6 and 16 channels, 120 and 84 units make LeNet-5 61,706 parameters; this one has one hidden layer less.
    lenet = Cnn(Cnn.Params(channels=6, hidden=84)).build((1, 28, 28), 10)
    assert 30_000 < numbers(lenet) < 62_000
    assert numbers(PlainMlp(PlainMlp.Params(hidden=100, depth=2)).build((1, 28, 28), 10)) == 785 * 100 + 101 * 110


def test_a_transformer_takes_whole_patches_only() -> None:
    assert Vit().build(DIGITS, 10)(torch.rand(2, *DIGITS)).shape == (2, 10)
    with pytest.raises(ValueError, match="are not a whole number of 3x3 patches"):
        Vit(Vit.Params(patch=3)).build(DIGITS, 10)
    with pytest.raises(InputError, match="width is 30, not a multiple of heads, which is 4"):
        check(Vit.Params, {"width": 30}, within("x"))


def test_attention_is_that_of_torch() -> None:
    from unlearnbench.networks.vit import Attention

    torch.manual_seed(0)
    ours, theirs = Attention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(
        {"in_proj_weight": ours.project.weight, "in_proj_bias": ours.project.bias,
         "out_proj.weight": ours.join.weight, "out_proj.bias": ours.join.bias}
    )  # fmt: skip
    x = torch.rand(3, 5, 8)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_a_grey_image_is_shown_to_torchvision_in_three_channels() -> None:
    network = TorchvisionModel(TorchvisionModel.Params(model="shufflenet_v2_x0_5")).build((1, 32, 32), 4).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(grey), network.network.network(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("params", "message"),
    [({"model": "no_such"}, "torchvision.models has no classifier 'no_such'"),
     ({"model": "squeezenet1_1"}, "has no last linear layer to the classes: set last_layer: false")],
)  # fmt: skip
def test_what_torchvision_can_not_make_is_said(params: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TorchvisionModel(TorchvisionModel.Params(**params)).build((3, 32, 32), 4)


def test_a_factory_is_known_by_the_version_of_its_package() -> None:
    params = Factory.Params(path="torchvision.models:shufflenet_v2_x0_5")
    assert params.keyed_packages == ("torchvision",)
    assert Factory(params).build((3, 32, 32), 4)(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(InputError, match=r"no_such_package is of no installed package.*write a plugin of kind model"):
        check(Factory.Params, {"path": "no_such_package:make"}, within("x"))


@pytest.mark.parametrize(
    ("params", "message"),
    [({"path": "torch.hub:load", "arguments": {"repo_or_dir": "x"}}, "hub loads what is not part of the package"),
     ({"path": "torch:load"}, "load loads what is not part of the package"),
     ({"path": "torch.nn:Linear", "arguments": {"deep": [{"file": "/"}]}}, "'/' is a file or folder"),
     ({"path": "torch.nn:Linear", "arguments": {"weights": "https://a/b.pt"}}, "'https://a/b.pt' is a file or folder")],
)  # fmt: skip
def test_a_factory_loads_nothing_whose_changes_would_go_unnoticed(params: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(Factory.Params, params, within("x"))


def test_a_factory_takes_answers_with_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Output:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    class Wrapped(torch.nn.Linear):
        def forward(self, images: torch.Tensor) -> Output:  # type: ignore[override]
            return Output(super().forward(images.flatten(1)))

    monkeypatch.setattr("torchvision.models.made_here", lambda num_classes: Wrapped(64, num_classes), raising=False)
    network = Factory(Factory.Params(path="torchvision.models:made_here")).build(DIGITS, 7)
    assert network(torch.rand(2, *DIGITS)).shape == (2, 7)


def test_parameters_may_not_be_called_name(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "odd.py").write_text(
        "from unlearnbench.plugin import Model, PluginParams\n"
        "class Odd(Model):\n"
        "    class Params(PluginParams):\n        name: str = 'x'\n"
        "    def build(self, shape, classes):\n        raise NotImplementedError\n"
    )
    with pytest.raises(InputError, match=r"Odd.Params.name: a suite gives parameters beside the name; rename it"):
        load("model", "odd", [tmp_path])
