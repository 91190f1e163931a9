"""How a face becomes the crop that a network was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.faces.resample import area_crop, resized, warp
from idsim.matchers.faces.similarity import similarity, template

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.matchers.base import Face

__all__ = ["MODES", "Alignment"]

MODES = ("similarity5", "box_margin", "dlib_chip", "ffhq_fixed", "none")
DLIB_PADDING = 0.25  # what dlib's network was trained with

# pSp's and e4e's convention: these rows and columns of the picture at 256 x 256 pixels, averaged to 112 x 112.
_FFHQ_SIDE = 256
_FFHQ_BOX = (32, 35, 220, 223)
_SPHEREFACE_COLUMNS = slice(8, 104)


@dataclass(frozen=True)
class Alignment:
    """A rule that makes a crop of a face.

    Attributes
    ----------
    mode : {"similarity5", "box_margin", "dlib_chip", "ffhq_fixed", "none"}
        - ``similarity5``: a similarity takes the five landmarks to a template (ArcFace, SphereFace and others).
        - ``box_margin``: the box of the face with a margin, squeezed to the size of the crop (FaceNet), by
          facenet-pytorch's rule.
        - ``dlib_chip``: dlib's chip, from dlib's own landmarks, with a padding of 0.25.
        - ``ffhq_fixed``: a fixed part of a picture that was aligned as FFHQ is. Ignores the pose; never to be
          compared with crops by landmarks.
        - ``none``: the picture is the crop; other sizes are resized.
    size : tuple of int
        Height and width of the crop in pixels.
    template : {"arcface112", "sphereface112x96"}
        Where ``similarity5`` moves the landmarks, and what ``ffhq_fixed`` cuts.
    margin : int
        Of ``box_margin``: what is added to the box, both sides together, in pixels of the crop.
    antialias : bool
        Of ``similarity5``: average pixels that fall into one. The customary crop does not, so a face of 1024
        pixels has jagged edges in it; networks were trained with that.

    Raises
    ------
    ValueError
        The mode, the template or the size is unknown, or the margin leaves no face.
    """

    mode: str = "similarity5"
    size: tuple[int, int] = (112, 112)
    template: str = "arcface112"
    margin: int = 0
    antialias: bool = False

    def __post_init__(self) -> None:
        height, width = self.size
        if self.mode not in MODES:
            raise ValueError(f"the alignment {self.mode!r} is none of {', '.join(MODES)}")
        if min(height, width) < 1:
            raise ValueError(f"a crop has at least 1 x 1 pixels, not {height} x {width}")
        if self.mode in ("similarity5", "ffhq_fixed"):
            template(self.template, self.size)
        if self.mode == "ffhq_fixed" and height % 112:
            raise ValueError(f"ffhq_fixed makes crops of a multiple of 112 pixels, not {height} x {width}")
        if self.mode == "box_margin" and not 0 <= self.margin < min(height, width):
            raise ValueError(f"margin must be from 0 to {min(height, width) - 1} pixels, not {self.margin}")
        if self.mode == "dlib_chip" and height != width:
            raise ValueError(f"dlib's chips are square, not {height} x {width}")

    @property
    def needs_face(self) -> bool:
        """Whether a face must be found first."""
        return self.mode not in ("ffhq_fixed", "none")

    def describe(self) -> dict[str, Any]:
        """Return what the crops depend on besides the face, as plain JSON values."""
        described: dict[str, Any] = {"mode": self.mode, "size": list(self.size)}
        if self.mode in ("similarity5", "ffhq_fixed"):
            described["template"] = self.template
        if self.mode == "similarity5":
            described |= {"interpolation": "bilinear", "antialias": self.antialias}
        if self.mode == "box_margin":
            described["margin"] = self.margin
        if self.mode == "dlib_chip":
            described["padding"] = DLIB_PADDING
        return described

    def crop(self, image: NDArray[np.uint8], face: Face | None = None) -> NDArray[np.uint8] | None:
        """Return the crop of a face.

        Parameters
        ----------
        image : ndarray
            uint8 ``[height, width, 3]`` RGB.
        face : Face, optional
            The face; not looked at where `needs_face` is false.

        Returns
        -------
        ndarray or None
            uint8 ``[*size, 3]``; None where there is none to be had: the landmarks are all at one place, the box
            is outside of the picture, or a picture that is not square is no FFHQ picture.

        Raises
        ------
        ValueError
            There is no face, or the detector gives no landmarks of the kind that this alignment needs.
        """
        if self.mode == "none":
            return resized(image, self.size)
        if self.mode == "ffhq_fixed":
            return self._ffhq(image)
        if face is None:
            raise ValueError(f"the alignment {self.mode} needs a face")
        if self.mode == "box_margin":
            return self._box(image, face.box)
        if self.mode == "dlib_chip":
            return self._chip(image, face)
        return self._similar(image, face.landmarks)

    def _similar(
        self, image: NDArray[np.uint8], landmarks: NDArray[np.float32] | None
    ) -> NDArray[np.uint8] | None:
        if landmarks is None:
            raise ValueError("similarity5 needs five landmarks, and the detector gives none")
        if not np.isfinite(landmarks).all() or float(np.ptp(landmarks, axis=0).max()) < 1e-3:
            return None
        matrix = similarity(landmarks, template(self.template, self.size))
        return warp(image, matrix, self.size, antialias=self.antialias)

    def _box(
        self, image: NDArray[np.uint8], box: tuple[float, float, float, float]
    ) -> NDArray[np.uint8] | None:
        from PIL import Image

        left, top, right, bottom = box
        across = self.margin * (right - left) / (self.size[1] - self.margin) / 2
        down = self.margin * (bottom - top) / (self.size[0] - self.margin) / 2
        x0, y0 = int(max(left - across, 0)), int(max(top - down, 0))
        x1, y1 = int(min(right + across, image.shape[1])), int(min(bottom + down, image.shape[0]))
        if x0 >= x1 or y0 >= y1:
            return None
        part = Image.fromarray(np.ascontiguousarray(image[y0:y1, x0:x1]))
        return np.asarray(part.resize(self.size[::-1], Image.Resampling.BILINEAR))

    def _chip(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
        import dlib

        if face.points is None:
            raise ValueError("dlib_chip needs dlib's landmarks, and the detector gives others")
        parts = [dlib.point(round(x), round(y)) for x, y in face.points.tolist()]
        shape = dlib.full_object_detection(dlib.rectangle(*map(round, face.box)), parts)
        chip = dlib.get_face_chip(np.ascontiguousarray(image), shape, size=self.size[0], padding=DLIB_PADDING)
        return np.asarray(chip)

    def _ffhq(self, image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        if image.shape[0] != image.shape[1]:
            return None
        part = resized(image, (_FFHQ_SIDE, _FFHQ_SIDE), _FFHQ_BOX)
        height = self.size[0]
        crop = area_crop(part, (0, 0, part.shape[1], part.shape[0]), (height, height))
        if self.template == "sphereface112x96":
            first, stop = (
                column * height // 112 for column in (_SPHEREFACE_COLUMNS.start, _SPHEREFACE_COLUMNS.stop)
            )
            crop = np.ascontiguousarray(crop[:, first:stop])
        return crop
