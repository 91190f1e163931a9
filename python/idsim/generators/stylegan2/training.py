"""The terms that a StyleGAN2 is trained with; each is a function of tensors and knows no network.

The words are those of the papers: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020
(arXiv:1912.04958), and the papers that each term names.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim import Adam

__all__ = [
    "Ema",
    "PathLength",
    "lazy_adam",
    "logistic_loss",
    "mix_styles",
    "nonsaturating_loss",
    "path_lengths",
    "r1_penalty",
]


def nonsaturating_loss(fake: Tensor) -> Tensor:
    """Return the loss of the generator, ``mean(-log sigmoid(D(G(z))))``.

    Parameters
    ----------
    fake : Tensor
        Logits of the discriminator for generated pictures, any shape.

    Returns
    -------
    Tensor
        Scalar.

    References
    ----------
    Goodfellow et al., "Generative Adversarial Nets", NeurIPS 2014, section 3.
    """
    from torch.nn.functional import softplus

    return softplus(-fake).mean()


def logistic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the loss of the discriminator, ``mean(-log sigmoid(D(x))) + mean(-log(1 - sigmoid(D(G(z)))))``.

    Parameters
    ----------
    real, fake : Tensor
        Logits for real and for generated pictures, any shapes.

    Returns
    -------
    Tensor
        Scalar.
    """
    from torch.nn.functional import softplus

    return softplus(-real).mean() + softplus(fake).mean()


def r1_penalty(logits: Tensor, images: Tensor, gamma: float) -> Tensor:
    """Return ``gamma / 2 * mean(||dD(x)/dx||^2)`` over real pictures, itself differentiable.

    Parameters
    ----------
    logits : Tensor
        One logit for each picture, ``[n, 1]`` or ``[n]``, computed from `images`.
    images : Tensor
        Real pictures, ``[n, ...]``; they must require gradients.
    gamma : float
        Weight, 0 or more.

    Returns
    -------
    Tensor
        Scalar.

    Raises
    ------
    ValueError
        If `images` require no gradients, if there is not one logit for each picture, or if `gamma` is negative.

    References
    ----------
    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
    """
    import torch

    if not images.requires_grad:
        raise ValueError(
            "the pictures require no gradients; call images.requires_grad_() before the discriminator"
        )
    if logits.numel() != len(images):
        raise ValueError(f"{logits.numel()} logits for {len(images)} pictures; each picture needs one")
    if gamma < 0:
        raise ValueError(f"gamma must be 0 or more, not {gamma}")
    # The sum gives the gradient of every picture at once, because no logit depends on another picture. Through a
    # minibatch standard deviation it does, and then it is the gradient of the sum, as in the original.
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    penalty: Tensor = gradients.square().flatten(1).sum(1).mean() * (gamma / 2)
    return penalty


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Return ``||J^T y||`` of every picture, J the Jacobian of the picture by its styles.

    Parameters
    ----------
    images : Tensor
        Generated pictures, ``[n, channels, height, width]``, computed from `ws`.
    ws : Tensor
        Styles, ``[n, num_ws, w_dim]``; they must require gradients.
    noise : Tensor
        y, shaped as `images`.

    Returns
    -------
    Tensor
        ``[n]``: the root of the mean over the styles of a picture of the squared length of each one's gradient.

    Raises
    ------
    ValueError
        If `ws` require no gradients or the shapes do not fit.
    """
    import torch

    if not ws.requires_grad:
        raise ValueError("the styles require no gradients; call ws.requires_grad_() before the synthesis")
    if noise.shape != images.shape or ws.ndim != 3 or len(ws) != len(images):
        shapes = f"pictures {list(images.shape)}, styles {list(ws.shape)}, noise {list(noise.shape)}"
        raise ValueError(f"shapes do not fit: {shapes}")
    (gradients,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
    lengths: Tensor = gradients.square().sum(2).mean(1).sqrt()
    return lengths


class PathLength:
    """Path length regularisation: ``weight * mean((||J^T y|| - a)^2)``, a the running mean of the lengths.

    a is a constant of the gradient, as in the paper. (The original code also differentiates the share that the
    current batch has in it, 1 %.)

    Parameters
    ----------
    weight : float
        Weight of the term.
    decay : float
        Share of the current batch in a.

    Attributes
    ----------
    mean : Tensor or None
        a, scalar; None before the first batch, which starts from 0.

    References
    ----------
    Karras et al., CVPR 2020 (arXiv:1912.04958), section 3.2 and appendix B.
    """

    def __init__(self, weight: float = 2.0, decay: float = 0.01) -> None:
        if weight < 0 or not 0 < decay <= 1:
            raise ValueError(f"weight must be 0 or more and decay in (0, 1], not {weight} and {decay}")
        self.weight, self.decay = weight, decay
        self.mean: Tensor | None = None

    def __call__(self, images: Tensor, ws: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the term for a batch and move the running mean.

        Parameters
        ----------
        images, ws : Tensor
            As for `path_lengths`.
        noise : Tensor, optional
            y; drawn from N(0, I) / sqrt(height * width) by torch's generator if left out, so that the length does
            not grow with the resolution.
        """
        import torch

        if noise is None:
            noise = torch.randn_like(images) / math.sqrt(images.shape[-2] * images.shape[-1])
        lengths = path_lengths(images, ws, noise)
        mean = torch.zeros_like(lengths[0]) if self.mean is None else self.mean
        self.mean = mean.detach().lerp(lengths.detach().mean(), self.decay)
        return (lengths - self.mean).square().mean() * self.weight


def mix_styles(ws: Tensor, others: Tensor, probability: float = 0.9) -> Tensor:
    """Return `ws` whose later styles are taken from `others`, from a layer on that torch's generator draws.

    Parameters
    ----------
    ws, others : Tensor
        ``[n, num_ws, w_dim]``, num_ws 2 or more; the mapping of two sets of latent codes.
    probability : float
        Of mixing at all. The layer is uniform in 1 to num_ws - 1 and one for the batch.

    References
    ----------
    Karras et al., "A Style-Based Generator Architecture for GANs", CVPR 2019 (arXiv:1812.04948), section 3.1.
    """
    import torch

    if ws.shape != others.shape or ws.ndim != 3 or ws.shape[1] < 2:
        raise ValueError(f"styles of shapes {list(ws.shape)} and {list(others.shape)} cannot be mixed")
    cutoff = int(torch.randint(1, ws.shape[1], ()))
    if float(torch.rand(())) >= probability:
        return ws
    return torch.cat([ws[:, :cutoff], others[:, cutoff:]], dim=1)


class Ema:
    """A copy of a network whose weights are the exponential moving average of those of the network in training.

    Parameters
    ----------
    network : nn.Module
        Copied; the copy is in evaluation mode and requires no gradients.
    half_life : float
        Pictures after which a weight counts half.
    ramp_up : float or None
        The half-life is at most this share of the pictures seen so far, so that the start is forgotten;
        None: no ramp.

    Attributes
    ----------
    network : nn.Module
        The average.

    References
    ----------
    Karras et al., "Progressive Growing of GANs", ICLR 2018 (arXiv:1710.10196), section 4; the ramp is that of
    Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (arXiv:2006.06676),
    as its code has it.
    """

    def __init__(self, network: nn.Module, half_life: float, ramp_up: float | None = 0.05) -> None:
        if half_life <= 0 or (ramp_up is not None and ramp_up <= 0):
            raise ValueError(f"half-life and ramp-up must be positive, not {half_life} and {ramp_up}")
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.half_life, self.ramp_up = half_life, ramp_up

    def decay(self, batch: int, seen: int) -> float:
        """Return the weight that the average keeps when `batch` pictures follow `seen` pictures."""
        half_life = self.half_life if self.ramp_up is None else min(self.half_life, seen * self.ramp_up)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0

    def update(self, network: nn.Module, batch: int, seen: int) -> None:
        """Move the average towards `network`; buffers are copied.

        Parameters
        ----------
        network : nn.Module
            The network in training.
        batch, seen : int
            Pictures of this step, and of all steps before it.
        """
        import torch

        keep = self.decay(batch, seen)
        with torch.no_grad():
            for average, value in zip(self.network.parameters(), network.parameters(), strict=True):
                average.copy_(value.lerp(average, keep))
            for average, value in zip(self.network.buffers(), network.buffers(), strict=True):
                average.copy_(value)


def lazy_adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    interval: int | None,
    betas: tuple[float, float] = (0.0, 0.99),
    eps: float = 1e-8,
) -> Adam:
    """Return an Adam for a network whose regularisation term has a step of its own every `interval` steps.

    There are ``interval + 1`` steps where there would be `interval`, so with c = interval / (interval + 1) the
    learning rate is ``c * lr`` and the decays are ``beta ** c``. The caller multiplies the term by `interval`.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        The weights.
    lr, betas, eps
        As without lazy regularisation.
    interval : int or None
        Steps between two regularisation steps; None: no such steps, and no correction.

    References
    ----------
    Karras et al., CVPR 2020 (arXiv:1912.04958), appendix B, "Lazy regularization".
    """
    from torch.optim import Adam

    if interval is not None and interval < 1:
        raise ValueError(f"interval must be 1 or more, not {interval}")
    share = 1.0 if interval is None else interval / (interval + 1)
    return Adam(parameters, lr=lr * share, betas=(betas[0] ** share, betas[1] ** share), eps=eps)
