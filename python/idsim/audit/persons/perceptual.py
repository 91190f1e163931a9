"""Small descriptors of pictures as pictures, to find near copies: they know nothing of faces.

Both are vectors whose cosine the search engine compares, so that all pairs of two sets can be searched:

- a *thumbnail*: 16 x 16 grey values, centred and scaled to length 1; the cosine is their correlation;
- a *hash*: the signs of 64 low frequencies of a cosine transform; the cosine is ``1 - 2 * differing bits / 64``.

They survive scaling, compression and changes of brightness, not crops, rotations or edits of large parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["differing_bits", "hash_signs", "mirrored_thumbnails", "thumbnail"]

THUMBNAIL_SIDE = 16
HASH_INPUT_SIDE = 32
HASH_SIDE = 8
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601

# Pictures whose grey values deviate less than half a step of a byte show nothing.
LEAST_CONTRAST = 0.5


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the thumbnail of a picture.

    Parameters
    ----------
    picture : ndarray
        uint8 ``[height, width, 3]``, RGB.

    Returns
    -------
    ndarray
        float32 ``[256]``, row by row, mean 0 and length 1; zeros for a picture without contrast, which is
        similar to nothing.

    Raises
    ------
    ValueError
        The array is no such picture.
    """
    small = _shrunk(picture, THUMBNAIL_SIDE)
    small -= small.mean()
    norm = float(np.sqrt((small**2).sum()))
    if norm < LEAST_CONTRAST * THUMBNAIL_SIDE:
        return np.zeros(THUMBNAIL_SIDE**2, np.float32)
    return (small / norm).ravel().astype(np.float32)


def mirrored_thumbnails(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 ``[n, 256]``: the thumbnails of the mirrored pictures."""
    square = thumbnails.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.ascontiguousarray(square[:, :, ::-1]).reshape(thumbnails.shape)


def hash_signs(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the signs of low frequencies of a picture, of the kind known as pHash.

    The picture is shrunk to 32 x 32, transformed (DCT-II), and each of the 8 x 8 lowest frequencies is compared
    with the median of those 64 but the constant one. Hash ``picture[:, ::-1]`` for a mirrored copy.

    Parameters
    ----------
    picture : ndarray
        uint8 ``[height, width, 3]``, RGB.

    Returns
    -------
    ndarray
        float32 ``[64]``: 1 above the median, -1 otherwise; the constant frequency is always 1.

    Raises
    ------
    ValueError
        The array is no such picture.
    """
    transform = _cosines()
    low = (transform @ _shrunk(picture, HASH_INPUT_SIDE) @ transform.T).ravel()
    signs = np.where(low > np.median(low[1:]), 1.0, -1.0)
    signs[0] = 1.0
    return signs.astype(np.float32)


def differing_bits(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64 ``[n]``: in how many signs two hashes ``[n, 64]`` differ, row by row."""
    return np.asarray((np.sign(first) != np.sign(second)).sum(axis=-1), dtype=np.int64)


def _shrunk(picture: NDArray[np.uint8], side: int) -> NDArray[np.float64]:
    """Return float64 ``[side, side]``: means of grey values over equal areas, parts of pixels included."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"a picture is uint8 [height, width, 3], not {picture.dtype} {list(picture.shape)}")
    grey = picture.astype(np.float64) @ LUMA
    return np.asarray(_areas(picture.shape[0], side) @ grey @ _areas(picture.shape[1], side).T)


def _areas(pixels: int, side: int) -> NDArray[np.float64]:
    """Return float64 ``[side, pixels]``: the part that each pixel has in each of `side` equal lengths."""
    edges = np.arange(side + 1) * (pixels / side)
    first = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], first + 1.0) - np.maximum(edges[:-1, None], first)
    return np.asarray(np.maximum(0.0, overlap) * (side / pixels), dtype=np.float64)


def _cosines() -> NDArray[np.float64]:
    """Return float64 ``[8, 32]``: the lowest rows of the orthonormal DCT-II."""
    angles = np.pi * (np.arange(HASH_INPUT_SIDE) + 0.5) / HASH_INPUT_SIDE
    rows = np.cos(np.arange(HASH_SIDE)[:, None] * angles) * np.sqrt(2 / HASH_INPUT_SIDE)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, dtype=np.float64)
