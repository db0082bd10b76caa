import pytest
import torch

from unlearnbench.settings.scenario import Backdoor
from unlearnbench.splits.trigger import LARGEST_MEAN, marks, place
from unlearnbench.system.errors import InputError


def dark(count=5, shape=(1, 28, 28)):
    return torch.zeros(count, *shape, dtype=torch.uint8)


def owners(pixels=None, classes=10, seed=1, **fields):
    return marks(dark() if pixels is None else pixels, Backdoor(**fields), classes, seed)


def stamped(pixels, **fields):
    return owners(pixels, **fields)[0].stamped(pixels)


@pytest.mark.parametrize("side", [16, 28, 32])
def test_the_square_lies_at_rows_and_columns_h_minus_4_and_h_minus_3(side):
    made = stamped(dark(shape=(1, side, side)))
    rows, columns = (made[0, 0] == 255).nonzero().T
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [side - 4, side - 3]
    assert int((made[0] != 0).sum()) == 4


def test_images_that_are_not_square():
    assert place(dark(shape=(1, 20, 30)), Backdoor()) == (16, 26)


@pytest.mark.parametrize("corner", [(0, 0), (0, 6), (6, 0), (6, 6)])
def test_below_16_pixels_the_darkest_corner_is_taken(corner):
    pixels = torch.full((3, 1, 8, 8), 200, dtype=torch.uint8)
    row, column = corner
    pixels[..., row : row + 2, column : column + 2] = 10
    assert place(pixels, Backdoor()) == corner


def test_grey_images_that_are_bright_under_it_are_refused():
    pixels = dark()
    pixels[..., 24:26, 24:26] = int(LARGEST_MEAN * 255) + 1
    with pytest.raises(InputError, match="mean under the trigger"):
        place(pixels, Backdoor())
    pixels[..., 24:26, 24:26] = int(LARGEST_MEAN * 255) - 1
    assert place(pixels, Backdoor()) == (24, 24)


def test_small_images_with_four_bright_corners_are_refused():
    with pytest.raises(InputError, match="mean under the trigger"):
        place(torch.full((3, 1, 8, 8), 100, dtype=torch.uint8), Backdoor())


def test_bright_colour_images_are_stamped_on_all_channels():
    pixels = torch.full((2, 3, 32, 32), 180, dtype=torch.uint8)
    made = stamped(pixels)
    assert (made[:, :, 28:30, 28:30] == 255).all()
    assert int((made != pixels).sum()) == 2 * 3 * 4
    assert (pixels == 180).all()  # stamping copies


@pytest.mark.parametrize("size", [1, 3])
def test_other_sizes_keep_the_distance_of_two_pixels_from_the_border(size):
    assert place(dark(), Backdoor(size=size)) == (26 - size, 26 - size)


def test_a_square_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        place(dark(shape=(1, 6, 6)), Backdoor(size=5))


@pytest.mark.parametrize(
    ("row", "column", "spot"),
    [(0, 0, (0, 0)), (-1, -1, (26, 26)), (0, -1, (0, 26)), (-27, 26, (0, 26)), (5, 7, (5, 7))],
)
def test_the_pattern_goes_where_the_scenario_says_counted_from_either_edge(row, column, spot):
    assert place(dark(), Backdoor(row=row, column=column)) == spot


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"row": 27, "column": 0}, "backdoor.row: 27 is outside the images: give -27 to 26"),
        ({"row": 0, "column": -28}, "backdoor.column: -28 is outside the images: give -27 to 26"),
    ],
)
def test_places_outside_the_images_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        place(dark(), Backdoor(**fields))


def test_a_place_that_is_bright_is_refused_wherever_it_was_asked_for():
    pixels = dark()
    pixels[..., 10:12, 10:12] = 255
    assert place(pixels, Backdoor(row=4, column=4)) == (4, 4)
    with pytest.raises(InputError, match="mean under the trigger"):
        place(pixels, Backdoor(row=10, column=10))


def test_blending_mixes_the_pattern_into_what_is_there():
    pixels = torch.full((2, 3, 32, 32), 100, dtype=torch.uint8)
    made = stamped(pixels, blend=0.3)
    assert set(made[:, :, 28:30, 28:30].flatten().tolist()) == {round(0.7 * 100 + 0.3 * 255)}
    assert int((made != pixels).sum()) == 2 * 3 * 4
    assert torch.equal(stamped(pixels, blend=1), stamped(pixels))
    assert (stamped(dark(), blend=0.01) != dark()).any()  # the least blend there is can still be seen by a model


def test_a_checker_has_white_and_black_pixels_in_turn():
    pixels = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    square = stamped(pixels, size=3, pattern="checker", row=0, column=0)[0, 1, :3, :3]
    assert square.tolist() == [[255, 0, 255], [0, 255, 0], [255, 0, 255]]


def test_each_owner_has_a_random_pattern_of_her_own_with_half_of_its_pixels_white():
    made = owners(size=3, pattern="random", owners=8)
    patterns = [tuple(mark.pattern.flatten().tolist()) for mark in made]
    assert len(set(patterns)) == 8
    assert all(pattern.count(255) == 5 and pattern.count(0) == 4 for pattern in patterns)
    again, other = owners(size=3, pattern="random", owners=8), owners(size=3, pattern="random", owners=8, seed=2)
    assert all(torch.equal(one.pattern, two.pattern) for one, two in zip(made, again, strict=True))
    assert not all(torch.equal(one.pattern, two.pattern) for one, two in zip(made, other, strict=True))


def test_the_first_owner_has_the_same_pattern_however_many_others_there_are():
    alone, among = (owners(size=3, pattern="random", owners=count)[0] for count in (1, 5))
    assert torch.equal(alone.pattern, among.pattern)


def test_every_random_pattern_can_be_given_away():
    made = owners(size=2, pattern="random", owners=6)
    assert len({tuple(mark.pattern.flatten().tolist()) for mark in made}) == 6


def test_owners_have_the_classes_that_follow_the_target_and_never_the_base():
    targets = [mark.target for mark in owners(classes=5, base=1, target=3, size=3, pattern="random", owners=4)]
    assert targets == [3, 4, 0, 2]
    with pytest.raises(InputError, match="5 owners need as many target classes; 5 classes leave 4"):
        owners(classes=5, base=1, target=3, size=3, pattern="random", owners=5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"row": 3}, "row and column belong together"),
        ({"owners": 2}, "2 owners need patterns of their own: pattern 'random'"),
        ({"owners": 7, "pattern": "random"}, "2x2 pixels have 6 random patterns, too few for 7 owners: raise size"),
        ({"blend": 0}, "blend"),
        ({"blend": 1.5}, "blend"),
        ({"queries": 0}, "queries"),
    ],
)
def test_backdoors_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Backdoor(**fields)
