"""Images that are there more than once: counted, dropped where asked, refused where the truth would be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_worlds import image_data, leak, utility

from unlearnbench.cli import main as cli
from unlearnbench.plugin import ImageData, Images
from unlearnbench.settings.naming import scenario_id
from unlearnbench.settings.scenario import canonical
from unlearnbench.splits.identical_images import Copies, count, first_of_each, without_copies
from unlearnbench.splits.world import build_world, challenge, leak_parts
from unlearnbench.suite.keys import fields
from unlearnbench.system.errors import InputError

CPU = torch.device("cpu")


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.sampled_from([(1, 1, 1), (3, 2, 5), (1, 8, 8)]),
)
@settings(max_examples=60, deadline=None)
def test_each_image_finds_the_first_that_it_is_identical_to(kinds: list[int], shape: tuple[int, int, int]) -> None:
    drawn = torch.randint(0, 250, (7, *shape), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    drawn[:, 0, 0, 0] = torch.arange(7)  # seven different images
    assert first_of_each(drawn[kinds]).tolist() == [kinds.index(kind) for kind in kinds]


def test_images_with_the_same_sum_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zeros:
        def __init__(self, key: int) -> None: ...

        def random_raw(self, count: int) -> np.ndarray:
            return np.full(count, 2**63, np.uint64)

    monkeypatch.setattr(np.random, "Philox", Zeros)  # factors 2^63 + 1: many sums are equal
    pixels = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    pixels[1, 0, 0, 0], pixels[2, 0, 2, 0] = 2, 2
    assert first_of_each(pixels).tolist() == [0, 1, 2, 0]


def test_no_images_have_no_copies() -> None:
    assert first_of_each(torch.zeros(0, 1, 4, 4, dtype=torch.uint8)).tolist() == []


def with_copies(data: ImageData, *pairs: tuple[int, int]) -> ImageData:
    """The data with image b a copy of image a; numbers from the first test image on count on from the training ones."""
    pixels, size = torch.cat([data.train.pixels, data.test.pixels]), len(data.train)
    for a, b in pairs:
        pixels[b] = pixels[a]
    return data._replace(
        train=Images(pixels[:size], data.train.labels, data.train.ids),
        test=Images(pixels[size:], data.test.labels, data.test.ids),
    )


def test_copies_are_counted_by_where_they_are() -> None:
    assert count(image_data()) == Copies(0, 0, 0, 0)
    assert str(count(image_data())) == "none"
    found = count(with_copies(image_data(), (0, 5), (0, 8), (401, 402), (7, 410), (7, 411)))
    assert found == Copies(train=2, test=1, across=2, relabelled=3)
    assert str(found) == (
        "2 training images repeat earlier ones, 1 test image repeats an earlier one,"
        " 2 test images are training images too, 3 of these have other labels"
    )


def test_later_copies_are_dropped_and_nothing_else() -> None:
    data = with_copies(image_data(), (0, 5), (0, 8), (401, 402), (7, 410))
    kept = without_copies(data)
    assert sorted(set(range(400)) - set(kept.train.ids.tolist())) == [5, 8]
    assert sorted(set(range(400, 480)) - set(kept.test.ids.tolist())) == [402, 410]
    assert torch.equal(kept.train.pixels, data.train.pixels[kept.train.ids])
    assert count(kept) == Copies(0, 0, 0, 0)
    with pytest.raises(InputError, match="leaves no test image"):
        without_copies(data._replace(test=data.train.take(torch.arange(3))))


# --- worlds ----------------------------------------------------------------------------------------------------------


def parts(scenario: Any, seed: int = 1) -> dict[str, list[int]]:
    found = leak_parts(scenario, 400, seed, CPU)
    return {name: rows.tolist() for name, rows in found.items()}


@pytest.mark.parametrize("part", ["pool", "validation", "probe", "spare"])
@pytest.mark.parametrize("erased", ["random", "mislabelled", "memorised"])
def test_a_member_that_is_a_never_seen_image_too_is_refused(part: str, erased: str) -> None:
    scenario = leak(erased=erased)
    rows = parts(scenario)
    data = with_copies(image_data(), (rows["known"][3], rows[part][2]))
    build_world(image_data(), scenario, 1, CPU)
    with pytest.raises(InputError) as caught:
        build_world(data, scenario, 1, CPU)
    assert str(caught.value) == (
        f"scenario.leak: image {rows[part][2]}, never seen ('{part}'), is identical to image {rows['known'][3]}, which"
        " is trained on; scenario.duplicates: drop leaves later copies out (--set duplicates=drop)"
    )
    made = build_world(data, scenario.model_copy(update={"duplicates": "drop"}), 1, CPU)
    assert made.shared == 399
    assert count(ImageData(made.pool.take(torch.arange(399)), made.test, 4)) == Copies(0, 0, 0, 0)
    # The parts need all images but for validation, from which the missing one is taken.
    sizes = {name: len(made.parts[name]) for name in ("target", "pool", "validation", "probe", "spare")}
    assert sizes == {"target": 160, "pool": 160, "validation": 19, "probe": 10, "spare": 50}
    assert made.sizes["validation"] == 19


@pytest.mark.parametrize("erased", ["random", "mislabelled", "memorised"])
def test_an_erased_image_that_stays_as_another_is_refused(erased: str) -> None:
    scenario = leak(erased=erased)
    rows = parts(scenario)
    first, second = rows["candidates"][0], rows["known"][0]
    with pytest.raises(InputError, match=f"image {first} is erased, and image {second}, which is trained on too, is"):
        build_world(with_copies(image_data(), (first, second)), scenario, 1, CPU)


def test_copies_that_make_no_truth_wrong_stay() -> None:
    scenario, rows = leak(), parts(leak())
    pairs = [(rows["known"][0], rows["known"][1]), (rows["pool"][0], rows["pool"][1]), (rows["spare"][0], 401)]
    made, plain = (build_world(with_copies(image_data(), *some), scenario, 1, CPU) for some in (pairs, []))
    assert torch.equal(made.targets.erased, plain.targets.erased)
    assert build_world(with_copies(image_data(), (0, 401), (1, 2)), utility(), 1, CPU).sizes["train"] == 400


def test_a_challenge_of_members_that_are_test_images_too_is_refused() -> None:
    scenario = utility(attack_images=20)
    plain = build_world(image_data(), scenario, 1, CPU)
    member = plain.pool.ids[plain.parts["remaining"][3]].item()
    data = image_data()
    data.test.pixels[:] = data.train.pixels[member]
    with pytest.raises(
        InputError, match=rf"attack_images: image \d+, .* is identical to image {member}.*\(40 such pairs"
    ):
        challenge(build_world(data, scenario, 1, CPU), scenario)
    challenge(plain, scenario)


def test_what_is_missing_after_dropping_is_taken_from_nothing_but_validation() -> None:
    data = with_copies(image_data(), *((0, copy) for copy in range(1, 22)))
    with pytest.raises(InputError, match="its parts need 380 training images without validation, the dataset has 379"):
        build_world(data, leak(duplicates="drop"), 1, CPU)


def test_dropping_is_part_of_the_identity_and_keeping_leaves_it_as_it_was() -> None:
    kept, dropped = leak(), leak(duplicates="drop")
    assert "duplicates" not in canonical(kept)
    assert "duplicates" in canonical(dropped)
    assert "duplicates=drop" in scenario_id(dropped, {}, {})
    for stage in ("select", "train", "retrained", "shadow_models", "unlearn", "shadows", "attack", "timing"):
        assert fields(stage, kept) != fields(stage, dropped)


# --- the command line ------------------------------------------------------------------------------------------------

SUITE = """
name: copies
seeds: 1
experiments:
  leak:
    references: false
    datasets: [{images: {params: {path: mine, mode: L}}}]
    scenario:
      kind: leak
      erased_count: 1
      targets: 4
      leak: {target: 40, known: 30, pool: 40, validation: 0, probe: 10, spare: 30}
      network: {hidden: 4, latent: 2}
      training: {epochs: 1}
      judging: {largest_retraining: 1}
      stop: {rule: steps, steps: 1}
    methods: [original]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """180 images of three classes, of which each in class c is also in class b."""
    generator = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "data/mine" / name).mkdir(parents=True)
    for index in range(60):
        for name in "ab":
            pixels = generator.integers(0, 256, (6, 6), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"data/mine/{name}/{index}.png")
        Image.fromarray(pixels).save(tmp_path / f"data/mine/c/{index}.png")
    extra = generator.integers(0, 256, (60, 6, 6), np.uint8)
    for index, pixels in enumerate(extra):
        Image.fromarray(pixels).save(tmp_path / f"data/mine/c/new{index}.png")
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def test_a_run_is_refused_before_anything_is_written_and_goes_with_one_option(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(mine / "suite.yaml"), "--data", str(mine / "data")]
    where = ["--results", str(mine / "r"), "--cache", str(mine / "c")]
    assert cli.main(["prepare", *arguments]) == 0
    assert "test images are training images too" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["run", *arguments, *where]) == 2
    said = capsys.readouterr().err
    assert "error: copies:experiments.leak.scenario.leak (dataset images[mode=L,path=mine]): image " in said
    assert "--set duplicates=drop" in said
    assert not (mine / "r").exists()
    assert not (mine / "c").exists()
    assert cli.main(["run", *arguments, *where, "--set", "duplicates=drop"]) == 0
    (log,) = (mine / "r/logs").iterdir()
    written = log.read_text()
    assert " images[mode=L,path=mine]: train=192 test=48 classes=3 shape=1x6x6\n" in written
    for line in ("files: 240 read", "left out: none", "decoded: 240 stored as L", "classes: 0=a, 1=b, 2=c"):
        assert f"    {line}\n" in written
    assert "    identical: c/0.png = b/0.png, c/1.png = b/1.png, c/10.png = b/10.png, 57 more\n" in written
    assert "    scenario.duplicates: drop leaves out " in written
