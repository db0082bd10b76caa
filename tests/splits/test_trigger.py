import pytest
import torch

from unlearnbench.settings.scenario import Backdoor
from unlearnbench.splits.trigger import LARGEST_MEAN, place, stamp
from unlearnbench.system.errors import InputError


def dark(count=5, shape=(1, 28, 28)):
    return torch.zeros(count, *shape, dtype=torch.uint8)


@pytest.mark.parametrize("side", [16, 28, 32])
def test_the_square_lies_at_rows_and_columns_h_minus_4_and_h_minus_3(side):
    spot = place(dark(shape=(1, side, side)), Backdoor())
    stamped = stamp(dark(shape=(1, side, side)), spot, 2)
    rows, columns = (stamped[0, 0] == 255).nonzero().T
    assert sorted(set(rows.tolist())) == sorted(set(columns.tolist())) == [side - 4, side - 3]
    assert int((stamped[0] != 0).sum()) == 4


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
    stamped = stamp(pixels, place(pixels, Backdoor()), 2)
    assert (stamped[:, :, 28:30, 28:30] == 255).all()
    assert int((stamped != pixels).sum()) == 2 * 3 * 4
    assert (pixels == 180).all()  # stamping copies


@pytest.mark.parametrize("size", [1, 3])
def test_other_sizes_keep_the_distance_of_two_pixels_from_the_border(size):
    assert place(dark(), Backdoor(size=size)) == (26 - size, 26 - size)


def test_a_square_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        place(dark(shape=(1, 6, 6)), Backdoor(size=5))
