"""Descriptors of pictures against SciPy and under edits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from idsim.audit.persons.perceptual import differing_bits, hash_signs, mirrored_thumbnails, thumbnail


def picture(rng, height=200, width=180):
    """Smooth random colours."""
    coarse = rng.random((5, 5, 3))
    rows, columns = np.linspace(0, 3.999, height), np.linspace(0, 3.999, width)
    i, j = rows.astype(int), columns.astype(int)
    u, v = (rows - i)[:, None, None], (columns - j)[None, :, None]
    top = coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v
    bottom = coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v
    return (255 * (top * (1 - u) + bottom * u)).astype(np.uint8)


def correlation(first, second):
    return float(np.dot(thumbnail(first), thumbnail(second)))


def test_a_thumbnail_holds_means_of_blocks(rng):
    given = picture(rng, 48, 80)
    grey = given.astype(np.float64) @ [0.299, 0.587, 0.114]
    blocks = grey.reshape(16, 3, 16, 5).mean(axis=(1, 3))
    expected = (blocks - blocks.mean()) / np.linalg.norm(blocks - blocks.mean())
    np.testing.assert_allclose(thumbnail(given), expected.ravel(), atol=1e-6)
    assert thumbnail(given).dtype == np.float32


def test_the_hash_is_that_of_the_cosine_transform(rng):
    given = picture(rng, 64, 96)
    grey = given.astype(np.float64) @ [0.299, 0.587, 0.114]
    small = grey.reshape(32, 2, 32, 3).mean(axis=(1, 3))
    low = dctn(small, norm="ortho")[:8, :8].ravel()
    expected = np.where(low > np.median(low[1:]), 1, -1)
    expected[0] = 1
    assert hash_signs(given).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "edit",
    [
        lambda image, rng: image[::2, ::2],
        lambda image, rng: np.repeat(np.repeat(image, 2, axis=0), 2, axis=1),
        lambda image, rng: (image * 0.7 + 20).astype(np.uint8),
        lambda image, rng: np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8),
    ],
    ids=["smaller", "larger", "darker", "noisy"],
)
def test_edits_stay_near_and_others_far(rng, edit):
    original, other = picture(rng), picture(rng)
    copy = edit(original, rng)
    assert correlation(original, copy) > 0.99
    assert abs(correlation(original, other)) < 0.9
    assert differing_bits(hash_signs(original), hash_signs(copy)) <= 10
    assert differing_bits(hash_signs(original), hash_signs(other)) >= 14


def test_a_mirrored_thumbnail_is_that_of_the_mirrored_picture(rng):
    pictures = [picture(rng, 77, 101) for _ in range(3)]
    mirrored = mirrored_thumbnails(np.stack([thumbnail(each) for each in pictures]))
    expected = np.stack([thumbnail(each[:, ::-1]) for each in pictures])
    np.testing.assert_allclose(mirrored, expected, atol=1e-5)


def test_a_picture_without_contrast_is_similar_to_nothing():
    flat = np.full((40, 40, 3), 130, np.uint8)
    assert not thumbnail(flat).any()
    assert hash_signs(flat).shape == (64,)


def test_tiny_pictures_work(rng):
    assert np.linalg.norm(thumbnail(picture(rng, 7, 9))) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(bad):
    for describe in (thumbnail, hash_signs):
        with pytest.raises(ValueError, match=r"a picture is uint8 \[height, width, 3\], not"):
            describe(bad)
