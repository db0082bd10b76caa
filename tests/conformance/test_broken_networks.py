"""For every rule of networks one that breaks it: it is caught, and told what to change."""

from __future__ import annotations

from pathlib import Path

import pytest
from examining import examine, source

BUILD = "def build(self, shape, classes):\n    "


def net(methods: str, after: str = "return network", head: str = "") -> str:
    """A network whose module has other methods."""
    body = f"""
{BUILD}class Other(Net):
{methods}
    network = Other(shape, classes)
    {after}
"""
    return source("model", head + body)


def forward(line: str) -> str:
    return f"        def forward(self, images):\n            {line}\n"


ENCODES = "        def encode(self, images):\n            {}\n        def classify(self, z):\n            {}\n"

BROKEN = {
    "no docstring": ("documented", source("model", doc=""), "class Odd has no docstring"),
    "no module": (
        "runs",
        source("model", BUILD + "return 3"),
        "it answered int '3'; return logits, a tensor f32[B, Y]",
    ),
    "raises": ("runs", source("model", BUILD + "raise ValueError('odd')"), "ValueError: odd, line "),
    "one logit": (
        "runs",
        net(forward("return self.layer(images.flatten(1))[:, :1]")),
        "about 5 images of 10 classes it answered float32[5, 1]; return logits, float32[5, 10]",
    ),
    "a pair": ("runs", net(forward("return images, images")), "it answered tuple"),
    "statistics of the batch": (
        "each_image_alone",
        net(forward("return self.layer((images - images.mean(0)).flatten(1))")),
        "the logits of an image alone and among others differ by",
    ),
    "writes into images": (
        "each_image_alone",
        net(forward("images.data.mul_(1.01); return self.layer(images.flatten(1))")),
        "it wrote into the images; work on copies",
    ),
    "features that are not there": (
        "capabilities",
        source("model", "features = True"),
        "'Net' object has no attribute 'encode'",
    ),
    "features by another way": (
        "capabilities",
        net(ENCODES.format("return images.flatten(1)", "return 2 * self.layer(z)"), head="features = True"),
        "classify(encode(images)) is not what calling the network gives; let forward call both",
    ),
    "a map of features": (
        "capabilities",
        net(ENCODES.format("return images", "return self.layer(z.flatten(1))"), head="features = True"),
        "encode gives [5, 1, 8, 8] for 5 images; return f32[B, J]",
    ),
    "a negative scale": (
        "capabilities",
        net(ENCODES.format("x = images.flatten(1); return x, -x - 1", "return self.layer(z)"), head="posterior = True"),
        "the scale of p(Z|x) is not positive",
    ),
    "numpy's weights": (
        "seed",
        net(
            "        pass\n",
            "network.layer.weight.data = torch.from_numpy(np.random.default_rng().random((classes, 64))).float()\n"
            "    return network",
        ),
        "layer.weight starts with other values when the network is built again with the same seed",
    ),
    "a secret": (
        "copies",
        net(
            forward("return self.layer(images.flatten(1)) * self.secret"),
            "network.secret = float(torch.rand(())) + 0.5; return network",
        ),
        "load_state_dict(state_dict()) gives another network; keep all that the outputs depend on",
    ),
    "a plain tensor": (
        "moves",
        net(
            forward("return self.layer(images.flatten(1)) + self.shift.to(images.dtype)"),
            "network.shift = torch.ones(()); return network",
        ),
        "shift: a plain attribute, which stays where it is; register it: self.register_buffer(name, value)",
    ),
    "a constant on the CPU": (
        "moves",
        net(forward("return self.layer(images.flatten(1)) + torch.ones(self.layer.out_features)")),
        "moved to another device it uses a tensor of the CPU",
    ),
    "a list of tensors": (
        "moves",
        net(
            forward("return self.layer(images.flatten(1)) + self.shifts[0]"),
            "network.shifts = [torch.ones(classes)]; return network",
        ),
        "moved to another device it uses a tensor of the CPU",
    ),
    "infinite": ("finite", net(forward("return self.layer(images.flatten(1)) / 0")), "values that are not finite"),
    "draws from everywhere": (
        "deterministic",
        net(forward("return self.layer(images.flatten(1)) * np.random.default_rng().random()")),
        "differ in",
    ),
    "numpy's stream": (
        "ignores_global_random_state",
        net(forward("return self.layer(images.flatten(1)) * float(np.random.random())")),
        "depends on the global random state",
    ),
    "seeds numpy": (
        "leaves_global_random_state",
        source("model", BUILD + "np.random.seed(0); return Net(shape, classes)"),
        "numpy.random was moved",
    ),
    "remembers": (
        "together_is_alone",
        net(
            forward("self.seen = getattr(self, 'seen', 0) + 1; return self.layer(images.flatten(1)) * self.seen"),
        ),
        "two models trained together and each alone differ by",
    ),
    "writes files": ("no_writes", net(forward("open('seen', 'w'); return 1")), "tried to write or change"),
    "leaves its process changed": (
        "process_state",
        source("model", BUILD + "torch.set_grad_enabled(False); return Net(shape, classes)"),
        "changed torch.set_grad_enabled (from True to False)",
    ),
}


@pytest.mark.parametrize(("check", "text", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_network_is_caught_and_told_what_to_change(
    check: str, text: str, expected: str, tmp_path: Path
) -> None:
    checks = ["runs", check] if check in ("no_writes", "process_state") else [check]
    result = examine(tmp_path, "model", text, *checks)
    assert result.status == "fail", result
    assert expected in result.line
    assert result.advice


def test_a_network_that_takes_no_small_images_is_examined_on_larger_ones(tmp_path: Path) -> None:
    text = source("model", BUILD + "assert shape[1] >= 32, 'too small'; return Net(shape, classes)")
    result = examine(tmp_path, "model", text, "runs")
    assert (result.status, result.note) == ("pass", "images 3x32x32; it does not take 1x8x8")


def test_how_a_network_is_vectorised_is_said(tmp_path: Path) -> None:
    vectorised = examine(tmp_path, "model", source("model"), "together_is_alone")
    assert vectorised.line.startswith("vectorised; largest difference")
    branches = forward("return self.layer(images.flatten(1)) * (2 if images.mean() > 0.5 else 1)")
    in_turn = examine(tmp_path, "model", net(branches), "together_is_alone")
    assert in_turn.line.startswith("one after the other in training and evaluation: torch.func can't vectorise it")


@pytest.mark.slow
def test_a_network_is_the_same_in_another_process(tmp_path: Path) -> None:
    assert examine(tmp_path, "model", source("model"), "worker_process").status == "pass"
    text = net(forward("return self.layer(images.flatten(1)) * (os.getpid() / 1000)"))
    assert "is different in a worker process" in examine(tmp_path, "model", text, "worker_process").line
