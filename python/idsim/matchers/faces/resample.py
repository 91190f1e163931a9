"""Pictures at other sizes and in other frames: means over areas, and bilinear samples with a border of zeros."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AreaTable", "block_means", "resized", "to_levels", "warp"]


class AreaTable:
    """Sums over all rectangles of a picture, from which crops of many sizes are averaged at once.

    Sums are kept modulo 2^32, so a cell may have up to 16 million pixels; their differences are exact.

    Parameters
    ----------
    image : ndarray
        uint8 ``[height, width, 3]``.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        self._sums = np.zeros((self.height + 1, self.width + 1, image.shape[2]), np.uint32)
        inner = self._sums[1:, 1:]
        np.cumsum(image, axis=0, dtype=np.uint32, out=inner)
        np.cumsum(inner, axis=1, dtype=np.uint32, out=inner)

    def whole(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the picture at another height and width, float32 ``[height, width, 3]``."""
        crop: NDArray[np.float32] = self.crops([0, 0, self.width, self.height], size)[0]
        return crop

    def crops(self, boxes: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return crops at one size, each pixel the mean of the cell of the picture that it covers.

        Cells begin and end at whole pixels and may overlap by one, as in PyTorch's ``area`` interpolation.

        Parameters
        ----------
        boxes : array_like
            Integers ``[n, 4]``: left, top, right and bottom, the last two exclusive. What is outside of the
            picture counts as zero.
        size : tuple of int
            Height and width of the crops.

        Returns
        -------
        ndarray
            float32 ``[n, height, width, 3]``, from 0 to 255.
        """
        left, top, right, bottom = np.asarray(boxes, np.int64).reshape(-1, 4).T
        first_row, last_row = _cells(top, bottom, size[0])
        first_column, last_column = _cells(left, right, size[1])
        count = (last_row - first_row)[:, :, None] * (last_column - first_column)[:, None, :]
        y0, y1 = (rows.clip(0, self.height)[:, :, None] for rows in (first_row, last_row))
        x0, x1 = (columns.clip(0, self.width)[:, None, :] for columns in (first_column, last_column))
        sums = self._sums
        total = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
        means: NDArray[np.float32] = (total / count[..., None]).astype(np.float32)
        return means


def _cells(start: NDArray[np.int64], stop: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], ...]:
    """Return the first pixels of the cells of each range, and the ones after the last, ``[n, count]`` each."""
    length, index = (stop - start)[:, None], np.arange(count)
    return start[:, None] + index * length // count, start[:, None] - (-(index + 1) * length // count)


def to_levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return values from 0 to 255 rounded to the nearest level."""
    return (values + np.float32(0.5)).astype(np.uint8)


def resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture at another height and width: averaged where it shrinks, bilinear where it grows."""
    height, width = image.shape[:2]
    if size == (height, width):
        return image
    if size[0] <= height and size[1] <= width:
        return to_levels(AreaTable(image).whole(size))
    rows = ((np.arange(size[0]) + 0.5) * height / size[0] - 0.5).clip(0, height - 1)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1] - 0.5).clip(0, width - 1)
    return to_levels(_bilinear(image, np.tile(columns, size[0]), np.repeat(rows, size[1]))).reshape(*size, 3)


def warp(
    image: NDArray[np.uint8], matrix: ArrayLike, size: tuple[int, int], *, antialias: bool = False
) -> NDArray[np.uint8]:
    """Return a picture in another frame, bilinear, zero where it does not reach.

    Without `antialias` this is ``cv2.warpAffine(image, matrix, (width, height))`` to within a level, save that
    OpenCV rounds places to 1/32 of a pixel.

    Parameters
    ----------
    image : ndarray
        uint8 ``[height, width, 3]``.
    matrix : array_like
        ``[2, 3]``, takes a place in the picture, x and y, to its place in the result.
    size : tuple of int
        Height and width of the result.
    antialias : bool
        Where the result has fewer pixels than what it shows, average whole blocks of pixels first, as many on a
        side as pixels fall into one.

    Raises
    ------
    ValueError
        The matrix cannot be inverted.
    """
    (a, b, tx), (c, d, ty) = np.asarray(matrix, np.float64).tolist()
    determinant = a * d - b * c
    if not abs(determinant) > 1e-12:
        raise ValueError(f"the matrix has the determinant {determinant}, so no picture can be sampled by it")
    across, down = np.arange(size[1]) - tx, (np.arange(size[0]) - ty)[:, None]
    xs = ((d * across - b * down) / determinant).reshape(-1)
    ys = ((a * down - c * across) / determinant).reshape(-1)
    block = floor(1 / sqrt(abs(determinant))) if antialias else 1
    if block > 1:
        image, xs, ys = _shrunk_around(image, xs, ys, block)
    return to_levels(_bilinear(image, xs, ys)).reshape(*size, 3)


def _shrunk_around(
    image: NDArray[np.uint8], xs: NDArray[np.float64], ys: NDArray[np.float64], block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Return the part of a picture around places as means of blocks, and the places in it."""
    height, width = image.shape[:2]
    # One block more on each side, so that no sample sees an edge that is not the picture's.
    left, right = _span(xs, width, block)
    top, bottom = _span(ys, height, block)
    part = image[top * block : bottom * block, left * block : right * block]
    middle = (block - 1) / 2
    return block_means(part, block), (xs - middle) / block - left, (ys - middle) / block - top


def _span(places: NDArray[np.float64], length: int, block: int) -> tuple[int, int]:
    """Return the first of the blocks around places along one axis, and the one after the last."""
    last = ceil(length / block) - 1
    first, stop = floor(float(places.min()) / block) - 1, floor(float(places.max()) / block) + 1
    return min(max(first, 0), last), min(max(stop, 0), last) + 1


def block_means(image: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Return the means of blocks of ``block x block`` pixels; blocks at the far edges are filled up with zeros."""
    rows, columns = (-length % block for length in image.shape[:2])
    filled = np.pad(image, ((0, rows), (0, columns), (0, 0)))
    height, width = (length // block for length in filled.shape[:2])
    sums = filled.reshape(height, block, width, block, 3).sum((1, 3), dtype=np.uint32)
    means: NDArray[np.uint8] = ((sums + block * block // 2) // (block * block)).astype(np.uint8)
    return means


def _bilinear(
    image: NDArray[np.uint8], xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return samples at places, float32 ``[n, 3]``; pixels outside of the picture are zero."""
    height, width = image.shape[:2]
    x0, y0 = np.floor(xs), np.floor(ys)
    right, low = (xs - x0).astype(np.float32), (ys - y0).astype(np.float32)
    # Far places are all alike, and would not fit into an integer.
    left, top = x0.clip(-2, width).astype(np.int64), y0.clip(-2, height).astype(np.int64)
    flat = image.reshape(-1, 3)
    result = np.zeros((len(xs), 3), np.float32)
    for row, share in ((top, 1 - low), (top + 1, low)):
        down = np.where((row >= 0) & (row < height), share, np.float32(0))
        start = row.clip(0, height - 1) * width
        for column, across in ((left, 1 - right), (left + 1, right)):
            weight = np.where((column >= 0) & (column < width), down * across, np.float32(0))
            result += flat[start + column.clip(0, width - 1)] * weight[:, None]
    return result
