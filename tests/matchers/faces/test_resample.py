"""Resampling against plain statements: every sample and every mean, at edges and where only a part is computed."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.matchers.faces.resample import AreaTable, area_crop, block_means, resized, warp


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sample(image, x, y):
    """Return the bilinear sample at a place; zero outside."""
    total = np.zeros(3)
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += image[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (12, 17)])
@pytest.mark.parametrize("shift", [(0, 0), (3.25, -2.5), (-4, 6.125), (-0.5, 0.5)])
def test_every_sample_of_a_warp(shape, shift):
    image = picture(*shape)
    matrix = np.array([[1.1, -0.3, shift[0]], [0.3, 1.1, shift[1]]])
    found = warp(image, matrix, (14, 15))
    back = np.linalg.inv(matrix[:, :2])
    for row in range(14):
        for column in range(15):
            x, y = back @ (np.array([column, row]) - matrix[:, 2])
            assert np.abs(found[row, column] - sample(image, x, y)).max() < 0.501


@pytest.mark.parametrize("block", [1, 2, 3, 4, 16, 17, 40])
def test_means_of_blocks(block):
    image = picture(83, 64)
    image[:block, :block] = 255
    filled = np.pad(image, ((0, -83 % block), (0, -64 % block), (0, 0))).astype(np.int64)
    height, width = filled.shape[0] // block, filled.shape[1] // block
    sums = filled.reshape(height, block, width, block, 3).sum((1, 3))
    wanted = (2 * sums + block**2) // (2 * block**2)  # one half is rounded up
    np.testing.assert_array_equal(block_means(image, block), wanted)


@pytest.mark.parametrize("size", [(24, 24), (48, 31), (83, 64), (41, 32), (100, 200), (2, 1)])
def test_a_part_is_that_part_of_the_whole(size):
    image = picture(83, 64)
    whole = resized(image, size)
    assert whole.shape == (*size, 3)
    box = size[1] // 3, size[0] // 4, max(1, size[1] - 3), size[0]
    np.testing.assert_array_equal(resized(image, size, box), whole[box[1] : box[3], box[0] : box[2]])
    if size[0] <= 83 and size[1] <= 64:
        np.testing.assert_array_equal(whole, (AreaTable(image).whole(size) + 0.5).astype(np.uint8))


@pytest.mark.parametrize("size", [(10, 10), (37, 20), (56, 41), (3, 41), (90, 120)])
def test_a_crop_by_areas_is_the_tables(size):
    image = picture(70, 64)
    wanted = AreaTable(image).crops([20, 7, 61, 63], size)[0]
    np.testing.assert_array_equal(area_crop(image, (20, 7, 61, 63), size), (wanted + 0.5).astype(np.uint8))


def test_cells_of_many_pixels_do_not_overflow():
    white = np.full((1200, 1100, 3), 255, np.uint8)
    assert (resized(white, (2, 3)) == 255).all()
    assert (block_means(white[:1100], 100) == 255).all()


def test_a_picture_that_is_a_view():
    image = picture(60, 80)
    for view in (image[5:55, 10:70], image[::2, ::-1]):
        whole = np.ascontiguousarray(view)
        np.testing.assert_array_equal(resized(view, (20, 20)), resized(whole, (20, 20)))
        np.testing.assert_array_equal(warp(view, np.eye(2, 3), (9, 9)), warp(whole, np.eye(2, 3), (9, 9)))
