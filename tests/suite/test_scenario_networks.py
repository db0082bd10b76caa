"""A scenario's network: a plugin with its parameters, in grids, names, keys and reasons to skip."""

from pathlib import Path

import pytest
import yaml

from unlearnbench.plugin import InputError
from unlearnbench.registry.registry import discover
from unlearnbench.settings.scenario import Network, Scenario
from unlearnbench.suite import plan
from unlearnbench.suite.selection import Selection
from unlearnbench.suite.suite import CellSetting, Suite, load_suite

OWN = '''
from torch import nn
from unlearnbench.plugin import Model, PluginParams

class Own(Model):
    """A linear network."""

    class Params(PluginParams):
        hidden: int = 3
        layers: list[int] = [1, 2]

    def build(self, shape, classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], classes))
'''


def suite(folder: Path, network: object, plugins: tuple[Path, ...] = (), **more: object) -> Suite:
    scenario = {"kind": "leak", "erased_count": 1, "targets": 2, "training": {"epochs": 1}}
    if network is not None:
        scenario["network"] = network
    experiment = {"datasets": ["digits"], "scenario": scenario, "methods": ["gradient_ascent"], **more}
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({"name": "nets", "seeds": 1, "experiments": {"one": experiment}}))
    return load_suite(path, discover(plugins))


def scenarios(loaded: Suite) -> list[CellSetting]:
    return list({id(setting.scenario): setting for setting in loaded.settings()}.values())


def test_a_grid_of_networks_has_the_parameters_of_each(tmp_path: Path) -> None:
    found = scenarios(
        suite(tmp_path, [{"name": "mlp"}, {"name": "cnn", "channels": [4, 8]}, {"name": ["vit", "linear"]}])
    )
    assert [setting.network.id for setting in found] == ["mlp", "cnn[channels=4]", "cnn", "vit", "linear"]
    # The dataset's `hidden` and `latent` are the bottleneck's, and of no other network.
    assert found[1].scenario.network.params == {"channels": 4, "hidden": 84}
    assert found[4].scenario.network.params == {"hidden": 96, "latent": 49, "stem": "small"}
    assert [setting.scenario_id.partition("network")[2].partition(",targets")[0] for setting in found] == [
        "", ".channels=4,network.name=cnn", ".name=cnn", ".name=vit", ".name=linear"
    ]  # fmt: skip


def test_a_plugin_of_ones_own_is_a_network_with_its_own_defaults(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "models").mkdir(parents=True)
    (tmp_path / "plugins" / "models" / "own.py").write_text(OWN)
    loaded = suite(tmp_path, {"name": "own", "layers": [3]}, (tmp_path / "plugins",))
    (setting,) = scenarios(loaded)
    assert setting.scenario.network.params == {"hidden": 3, "layers": [3]}
    assert "network.layers=[3],network.name=own" in setting.scenario_id


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"name": "ccn"}, r"scenario.network.name: unknown model 'ccn'; did you mean 'cnn'\?"),
        ({"name": "crfu"}, r"scenario.network.name: no model is named 'crfu'; that is the name of an existing method"),
        ({"name": "cnn", "chanels": 3}, r"scenario.network.chanels: unknown key 'chanels'; did you mean 'channels'\?"),
        ({"name": "cnn", "latent": 3}, r"scenario.network.latent: unknown key 'latent'"),
        ({"name": "cnn", "channels": 0}, r"scenario.network.channels: must be greater than or equal to 1, not 0"),
        ({"name": "cnn", "channels": "8"}, r"scenario.network.channels: must be a whole number, not \"8\""),
        ({"name": "torchvision_model"}, r"scenario.network: 'model' is missing"),
        ({"name": 3}, r"scenario.network.name: must be text, the name of a plugin of kind model"),
        ({"latent": 0}, r"scenario.network.latent: must be greater than or equal to 1, not 0"),
        ("cnn", r"scenario.network: must be a mapping with the network's name and its parameters"),
        ([], r"scenario.network: an empty list of alternatives"),
        ([{"name": "cnn"}, {"name": "cnn"}], r"digits with scenario .* is listed twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, network: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        suite(tmp_path, network)


def test_set_and_a_filter_choose_networks(tmp_path: Path) -> None:
    loaded = suite(tmp_path, [{"name": "mlp"}, {"name": "cnn", "channels": [4, 8]}])
    chosen = loaded.settings(Selection(networks=("cnn[channels=4]",)))
    assert {setting.network.id for setting in chosen} == {"cnn[channels=4]"}
    assert {s.network.id for s in suite(tmp_path, None).settings(Selection(overrides=("network.name=vit",)))} == {"vit"}
    wider = loaded.settings(Selection(overrides=("network.hidden=32",)))  # laid over each of them
    assert {setting.network.id for setting in wider} == {
        "mlp[hidden=32]",
        "cnn[channels=4,hidden=32]",
        "cnn[hidden=32]",
    }
    with pytest.raises(InputError, match="-n nonsense: unknown model 'nonsense'"):
        loaded.settings(Selection(networks=("nonsense",)))


def test_a_bottleneck_network_is_written_as_it_always_was() -> None:
    assert Network().model_dump(mode="json") == {"name": "mlp", "hidden": 96, "latent": 49, "stem": "small"}
    text = '{"kind": "utility", "erased_count": 1, "network": {"name": "linear", "latent": 64}}'
    assert Scenario.model_validate_json(text, strict=True).network == Network(name="linear", latent=64)


def keys(loaded: Suite, tmp_path: Path) -> list[str]:
    return [task.key for task in plan.build(loaded.settings(), tmp_path).tasks]


def test_the_network_and_its_code_are_part_of_every_stages_key(tmp_path: Path) -> None:
    folder = tmp_path / "plugins" / "models"
    folder.mkdir(parents=True)
    found = [keys(suite(tmp_path, {"name": "cnn", "channels": channels}), tmp_path) for channels in (4, 8)]
    for text in (OWN, OWN + "# changed\n"):
        (folder / "own.py").write_text(text)
        found.append(keys(suite(tmp_path, {"name": "own"}, (tmp_path / "plugins",)), tmp_path))
    assert len({len(each) for each in found}) == 1
    assert len({key for each in found for key in each}) == sum(map(len, found))  # no stage is shared


def test_what_needs_more_than_the_network_has_is_skipped_with_the_reason(tmp_path: Path) -> None:
    loaded = suite(
        tmp_path,
        [{"name": "cnn"}, {"name": "mlp"}, {"name": "factory", "path": "torchvision.models:shufflenet_v2_x0_5"}],
        methods=["crfu", {"vbu": {"space": ["weights", "representation"]}}, "renew", "sisa"],
        attacks=["representation", "representation_sampled"],
    )
    reasons = {
        (cell.setting.network.info.name, cell.method_id, cell.attack_id): cell.skip
        for cell in plan.build(loaded.settings(), tmp_path).cells
    }
    posterior = "needs a distribution of the representation, mean and scale of p(Z|x) (posterior), which the network"
    assert reasons["cnn", "crfu", None] == f"crfu {posterior} cnn lacks"
    assert reasons["cnn", "vbu", None] == f"vbu {posterior} cnn lacks"
    for method in ("vbu[space=weights]", "renew", "sisa", "retrain"):
        assert reasons["cnn", method, None] is None
        assert reasons["cnn", method, "representation"] is None
        assert reasons["cnn", method, "representation_sampled"] == f"representation_sampled {posterior} cnn lacks"
    without = next(name for name in reasons if name[0] == "factory" and name[1:] == ("sisa", "representation"))
    assert "needs a representation of images (features), which the network factory" in str(reasons[without])
    assert not any(reason for (network, _, _), reason in reasons.items() if network == "mlp")
