"""Boxes and landmarks from the outputs of detectors that look at a grid of cells.

Sources: insightface, ``scrfd.py`` (SCRFD and its RetinaFace); libfacedetection and OpenCV's ``FaceDetectorYN`` (YuNet).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["SCRFD_STRIDES", "YUNET_STRIDES", "Candidates", "decode_scrfd", "decode_yunet"]

SCRFD_STRIDES = (8, 16, 32, 64, 128)
YUNET_STRIDES = (8, 16, 32)
SCRFD_ANCHORS = (1, 2)


class Candidates(NamedTuple):
    """Boxes ``[n, 4]``, scores ``[n]`` and landmarks ``[n, 5, 2]`` or None, in pixels of the network's input."""

    boxes: Floats
    scores: Floats
    points: Floats | None


def decode_scrfd(
    outputs: Mapping[str, NDArray[np.float32]], size: tuple[int, int], threshold: float
) -> Candidates:
    """Return the candidates in the outputs of SCRFD.

    For each of three or five strides there are scores ``[n, 1]``, distances ``[n, 4]`` from the cell's corner to the
    left, top, right and bottom in strides, and perhaps landmarks ``[n, 10]`` likewise. Which output is which is told
    by its shape.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        As above, with or without a batch of one in front.
    size : tuple of int
        Height and width of the network's input.
    threshold : float
        The smallest score.

    Raises
    ------
    ValueError
        The outputs are not those of such a network.
    """
    tables: dict[int, dict[int, NDArray[np.float32]]] = {}
    for name, array in outputs.items():
        table = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
        if table.shape[1] not in (1, 4, 10) or table.shape[1] in tables.get(len(table), {}):
            raise ValueError(f"the output {name!r} of the shape {list(array.shape)} is none of SCRFD's")
        tables.setdefault(len(table), {})[table.shape[1]] = table
    if len(tables) not in (3, len(SCRFD_STRIDES)):
        raise ValueError(
            f"outputs of {sorted(tables)} rows are none of SCRFD's, which have three or five strides"
        )
    levels = zip(sorted(tables.items(), reverse=True), SCRFD_STRIDES, strict=False)
    return _joined([_scrfd_level(rows, level, stride, size, threshold) for (rows, level), stride in levels])


def _scrfd_level(
    rows: int, level: dict[int, NDArray[np.float32]], stride: int, size: tuple[int, int], threshold: float
) -> Candidates:
    height, width = size[0] // stride, size[1] // stride
    anchors, rest = divmod(rows, max(height * width, 1))
    if rest or anchors not in SCRFD_ANCHORS or not {1, 4} <= level.keys():
        raise ValueError(
            f"outputs of {rows} rows and {sorted(level)} columns are none of SCRFD's for {size[0]} x {size[1]} pixels "
            f"in cells of {stride}"
        )
    scores = level[1][:, 0].astype(np.float64)
    chosen = np.flatnonzero(scores >= threshold)
    cells = chosen // anchors
    corner = np.stack([cells % width, cells // width], 1) * float(stride)
    distances = level[4][chosen].astype(np.float64) * stride
    boxes = np.concatenate([corner - distances[:, :2], corner + distances[:, 2:]], 1)
    points = None
    if 10 in level:
        points = level[10][chosen].astype(np.float64).reshape(-1, 5, 2) * stride + corner[:, None]
    return Candidates(boxes, scores[chosen], points)


def decode_yunet(
    outputs: Mapping[str, NDArray[np.float32]], size: tuple[int, int], threshold: float
) -> Candidates:
    """Return the candidates in the outputs of YuNet: ``cls``, ``obj``, ``bbox`` and ``kps`` for every stride.

    Parameters
    ----------
    outputs : mapping of str to ndarray
        ``cls_8`` and so on, ``[1, n, columns]``.
    size : tuple of int
        Height and width of the network's input.
    threshold : float
        The smallest score, the geometric mean of ``cls`` and ``obj``.

    Raises
    ------
    ValueError
        The outputs are not those of such a network.
    """
    parts = []
    for stride in YUNET_STRIDES:
        height, width = size[0] // stride, size[1] // stride
        kind = {}
        for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            array = outputs.get(f"{name}_{stride}")
            if array is None or array.size != height * width * columns:
                shape = None if array is None else list(array.shape)
                raise ValueError(
                    f"{name}_{stride} is {shape}, and YuNet's has {height * width} rows of {columns}"
                )
            kind[name] = array.reshape(-1, columns).astype(np.float64)
        scores = np.sqrt(kind["cls"][:, 0].clip(0, 1) * kind["obj"][:, 0].clip(0, 1))
        chosen = np.flatnonzero(scores >= threshold)
        corner = np.stack([chosen % width, chosen // width], 1)
        box = kind["bbox"][chosen]
        # Sides over e^20 are damaged numbers, and would overflow.
        middle, half = (corner + box[:, :2]) * stride, np.exp(box[:, 2:].clip(None, 20)) * stride / 2
        points = (kind["kps"][chosen].reshape(-1, 5, 2) + corner[:, None]) * stride
        parts.append(Candidates(np.concatenate([middle - half, middle + half], 1), scores[chosen], points))
    return _joined(parts)


def _joined(parts: list[Candidates]) -> Candidates:
    boxes, scores = (
        np.concatenate(arrays) for arrays in ([p.boxes for p in parts], [p.scores for p in parts])
    )
    known = [part.points for part in parts if part.points is not None]
    if len(known) not in (0, len(parts)):
        raise ValueError("some strides have landmarks, and some have none")
    return Candidates(boxes, scores, np.concatenate(known) if known else None)
