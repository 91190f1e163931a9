"""Losses that ask for a margin between people: ArcFace's is added to an angle, SphereFace's multiplies it.

A class is a direction. The cosine between an embedding and the direction of its own person is made smaller than it is
before the softmax cross-entropy, so that the network must bring it nearer than plain classification needs.
"""

from __future__ import annotations

import math

import torch  # noqa: TID253 - a script
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

NARROW = 1e-6  # Angles are kept this far (in cosine) from 0 and pi, where the gradient of the arc cosine is infinite.


def additive_margin(cosines: Tensor, margin: float) -> Tensor:
    """Return cos(theta + margin) of cosines of angles theta; margin in radians, from 0 to pi / 2.

    Deng et al., CVPR 2019, "ArcFace", equation 3. Beyond theta = pi - margin, where the sum passes pi and its cosine
    would rise again, it is cos(theta) - margin sin(margin), as in the authors' code.
    """
    sines = (1 - cosines.square()).clamp_min(NARROW).sqrt()
    turned = cosines * math.cos(margin) - sines * math.sin(margin)
    return torch.where(cosines > -math.cos(margin), turned, cosines - margin * math.sin(margin))


def multiplicative_margin(cosines: Tensor, margin: float) -> Tensor:
    """Return psi(theta) = (-1)^k cos(margin theta) - 2 k with k = floor(margin theta / pi); margin 1 or more.

    Liu et al., CVPR 2017, "SphereFace", equation 6: cos(margin theta), continued beyond its first minimum so that it
    falls all the way from 1 to 1 - 2 margin (of a whole margin). Margins between whole numbers are those of Liu et
    al., TPAMI 2022, "SphereFace Revived".
    """
    angles = cosines.clamp(-1 + NARROW, 1 - NARROW).acos() * margin
    halves = (angles.detach() / math.pi).floor()
    return (1 - 2 * (halves % 2)) * angles.cos() - 2 * halves


class MarginHead(nn.Module):
    """Softmax cross-entropy over scaled cosines, with a margin for the right person.

    Parameters
    ----------
    kind : {"additive", "multiplicative"}
    people, dim : int
        Classes, and elements of an embedding.
    scale : float
        What cosines are multiplied by.
    """

    def __init__(self, kind: str, people: int, dim: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(people, dim) / math.sqrt(dim))
        self.kind, self.scale = kind, scale

    def forward(
        self, embeddings: Tensor, labels: Tensor, strength: float, margin: float
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and how many embeddings are nearest to their own person, before the margin.

        `strength` from 0 (no margin) to 1 (all of it) lets the margin grow.
        """
        cosines = F.linear(F.normalize(embeddings), F.normalize(self.weight))
        own = cosines.gather(1, labels[:, None])
        if self.kind == "additive":
            wanted = additive_margin(own, strength * margin)
        else:
            wanted = multiplicative_margin(own, 1 + strength * (margin - 1))
        loss = F.cross_entropy(self.scale * cosines.scatter(1, labels[:, None], wanted), labels)
        return loss, (cosines.argmax(1) == labels).sum()
