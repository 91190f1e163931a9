"""The one way in for checkpoints of every format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.errors import CheckpointError
from idsim.files import InputFile
from idsim.generators.stylegan2.checkpoint import NETWORKS, Checkpoint, NetworkName, read_checkpoint
from idsim.generators.stylegan2.isolation import load_isolated

if TYPE_CHECKING:
    import os

__all__ = ["load_checkpoint"]


def load_checkpoint(
    path: str | os.PathLike[str], *, network: NetworkName = "G_ema", isolate: bool = False
) -> Checkpoint:
    """Load a StyleGAN2 generator from a checkpoint of any format that is read, without running code from it.

    Formats: pickles of NVlabs' stylegan2, stylegan2-ada (TensorFlow), stylegan2-ada-pytorch and stylegan3
    (StyleGAN2 configurations); `torch.save` files with rosinality's, BasicSR's or NVlabs' names, also below
    ``decoder.``; safetensors.

    Parameters
    ----------
    path : path-like
        The file.
    network : {"G_ema", "G"}
        The averaged generator, or the one in training, where the file holds both.
    isolate : bool
        Read the file in a process of its own with limits on memory, time, files and system calls. It costs
        about a third of a second and, for a moment, the weights' memory a second time.

    Returns
    -------
    Checkpoint
        float16 and bfloat16 tensors are widened exactly.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, hostile, or holds no StyleGAN2 generator that is read.
    """
    if network not in NETWORKS:
        raise ValueError(f"network is {network!r}, not one of {', '.join(NETWORKS)}")
    if isolate:
        return load_isolated(path, network)
    with InputFile(path, CheckpointError) as file:
        return read_checkpoint(file, network)
