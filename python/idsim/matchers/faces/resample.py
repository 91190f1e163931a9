"""Pictures at other sizes and in other frames: means over areas, and bilinear samples with a border of zeros."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AreaTable", "area_crop", "block_means", "resized", "to_levels", "warp"]


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


def resized(
    image: NDArray[np.uint8], size: tuple[int, int], box: tuple[int, int, int, int] | None = None
) -> NDArray[np.uint8]:
    """Return a picture at another height and width: averaged where it shrinks, bilinear where it grows.

    Parameters
    ----------
    image : ndarray
        uint8 ``[height, width, 3]``.
    size : tuple of int
        Height and width of the whole result.
    box : tuple of int, optional
        Left, top, right and bottom, the last two exclusive, of the part of the result to return; only what it shows
        is computed.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box or (0, 0, size[1], size[0])
    if size == (height, width):
        return image if box is None else image[top:bottom, left:right]
    if size[0] <= height and size[1] <= width:
        rows, columns = _cells_of(height, size[0]), _cells_of(width, size[1])
        return _cell_means(image, rows[:, top:bottom], columns[:, left:right])
    ys = ((np.arange(top, bottom) + 0.5) * height / size[0] - 0.5).clip(0, height - 1)
    xs = ((np.arange(left, right) + 0.5) * width / size[1] - 0.5).clip(0, width - 1)
    return to_levels(_bilinear_grid(image, xs, ys))


def _cells_of(length: int, count: int) -> NDArray[np.int64]:
    """Return the first pixels of the cells of one side, and the ones after the last, ``[2, count]``."""
    first, last = _cells(np.zeros(1, np.int64), np.full(1, length), count)
    return np.concatenate([first, last])


def _cell_means(
    image: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the means over cells, ``[2, n]`` along each side, rounded to the nearest level.

    Sums are exact, whatever their order. Quotients are float32 where a cell has so few pixels that none but an exact
    one half comes near to it.
    """
    heights, widths = rows[1] - rows[0], columns[1] - columns[0]
    small = int(heights.max()) * int(widths.max()) < 257  # 256 pixels of 255 fit into 16 bits
    left, right = int(columns[0].min()), int(columns[1].max())
    lines = image.reshape(len(image), -1)[:, 3 * left : 3 * right]
    # One column more, of zeros, for cells that are narrower than others.
    summed = np.zeros((len(heights), 3 * (right - left + 1)), np.uint16 if small else np.uint32)
    within = summed[:, :-3]
    within[:] = lines[rows[0]]
    for i in range(1, int(heights.max())):
        taller = np.flatnonzero(heights > i)
        if len(taller) == len(heights):
            within += lines[rows[0] + i]
        else:
            within[taller] += lines[rows[0, taller] + i]
    totals = np.take(summed, _channels(columns[0] - left), axis=1)
    for i in range(1, int(widths.max())):
        places = np.where(widths > i, columns[0] - left + i, right - left)
        totals += np.take(summed, _channels(places), axis=1)
    kind = np.float32 if small else np.float64
    counts = (heights[:, None] * np.repeat(widths, 3)).astype(kind)
    means = to_levels((totals.astype(kind) / counts).astype(np.float32))
    return means.reshape(len(heights), len(widths), 3)


def _channels(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of the three channels of pixels of a line."""
    places: NDArray[np.int64] = (3 * pixels[:, None] + np.arange(3)).reshape(-1)
    return places


def _bilinear_grid(
    image: NDArray[np.uint8], xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return samples at all pairs of places inside of a picture, float32 ``[len(ys), len(xs), 3]``."""
    height, width = image.shape[:2]
    left, top = xs.astype(np.int64), ys.astype(np.int64)
    right, low = np.repeat((xs - left).astype(np.float32), 3), (ys - top).astype(np.float32)[:, None]
    lines = image.reshape(height, -1)
    columns = [
        (np.take(lines, _channels(at), axis=1).astype(np.float32), across)
        for at, across in ((left, 1 - right), ((left + 1).clip(max=width - 1), right))
    ]
    result = np.zeros((len(ys), 3 * len(xs)), np.float32)
    for row, down in ((top, 1 - low), ((top + 1).clip(max=height - 1), low)):
        for values, across in columns:
            result += values[row] * (down * across)
    return result.reshape(len(ys), len(xs), 3)


def area_crop(
    image: NDArray[np.uint8], box: tuple[int, int, int, int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a part of a picture at another height and width, each pixel the mean of the cell that it covers.

    As `AreaTable.crops`, rounded, for one box that is inside of the picture.
    """
    left, top, right, bottom = box
    return _cell_means(image, _cells_of(bottom - top, size[0]) + top, _cells_of(right - left, size[1]) + left)


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
    return _bilinear(image, xs, ys).reshape(*size, 3)


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
    filled = np.pad(image, ((0, rows), (0, columns), (0, 0))) if rows or columns else image
    height, width = (length // block for length in filled.shape[:2])
    starts = np.arange(height) * block, np.arange(width) * block
    return _cell_means(filled, *(np.stack([first, first + block]) for first in starts))


def _bilinear(
    image: NDArray[np.uint8], xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return samples at places, rounded, uint8 ``[n, 3]``; pixels outside of the picture are zero."""
    if min(image.shape[:2]) < 2:
        image = np.pad(image, ((0, 1), (0, 1), (0, 0)))
    height, width = image.shape[:2]
    left, *across = _neighbours(xs, width)
    top, *down = _neighbours(ys, height)
    flat, line = image.reshape(-1), 3 * width
    places = top * line
    places += 3 * left
    places = places + np.arange(3)[:, None]
    # Channel after channel, and the four pixels of a place by where their memory starts: long sweeps, the same places.
    values = np.zeros((3, len(xs)), np.float32)
    for row in range(2):
        for column in range(2):
            values += np.take(flat[row * line + 3 * column :], places) * (down[row] * across[column])
    samples = np.empty((len(xs), 3), np.uint8)
    for channel, levels in enumerate(to_levels(values)):
        samples[:, channel] = levels  # one by one: a transposed copy takes four times as long
    return samples


def _neighbours(
    places: NDArray[np.float64], length: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the first of two neighbours on one side of a picture, and the shares of both.

    Both are in the picture. The shares are those of the two pixels around a place; of one that is not in the picture
    it is zero.
    """
    whole = np.floor(places)
    after = (places - whole).astype(np.float32)
    before = 1 - after
    if whole.min() >= 0 and whole.max() <= length - 2:
        return whole.astype(np.int64), before, after
    # Far places are all alike, and would not fit into an integer.
    pixel = whole.clip(-2, length).astype(np.int64)
    first = pixel.clip(0, length - 2)
    before[(pixel < 0) | (pixel >= length)] = 0
    after[(pixel < -1) | (pixel >= length - 1)] = 0
    # At the near edge the second of the two is the first in the picture, at the far edge the other way round.
    near, far = pixel < first, pixel > first
    return first, np.where(near, after, before * ~far), np.where(far, before, after * ~near)
