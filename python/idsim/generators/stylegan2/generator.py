"""StyleGAN2 as a generator: seeds to pictures, from the weights of a checkpoint."""

from __future__ import annotations

import dataclasses
import math
import operator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idsim.arithmetic import full_float32
from idsim.generators.stylegan2.latents import NOISE_MODES, latent_code, noise_maps
from idsim.generators.stylegan2.loading import load_checkpoint

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from idsim.generators.base import Pictures
    from idsim.generators.stylegan2.checkpoint import Checkpoint
    from idsim.generators.stylegan2.latents import NoiseMode

__all__ = ["Precision", "StyleGan2"]

Precision = Literal["float32", "mixed"]

LICENCE = "that of the checkpoint, which its publisher states"
LAST_SEED = 2**32 - 1  # what numpy.random.RandomState takes
MAX_BATCH = 64
# Tensors of the size of the largest activation that are alive at once: the input and output of a convolution,
# its workspace, and the filtered and activated results.
LIVE_ACTIVATIONS = 6


class StyleGan2:
    """A StyleGAN2 generator with its weights.

    One seed is one picture, whatever the batch. On a CPU every picture is drawn by one thread, several at once, so that
    neither the batch nor the number of threads changes a byte; on a GPU the batch may change single values by one
    level.

    Parameters
    ----------
    checkpoint : Checkpoint
        Configuration and weights; the weights are copied.
    device : str, optional
        Of torch, such as "cpu" or "cuda:1"; default: the first GPU if there is one.
    noise : {"const", "none", "random", "seeded-tf"}
        The maps of the checkpoint; none; fresh ones for every seed; or those that the TensorFlow scripts of 2019
        and 2020 draw for the seed, without which their pictures do not come back.
    cutoff : int, optional
        How many of the styles are truncated, the coarsest first; default: all.
    precision : {"float32", "mixed"}
        "mixed": half precision in the blocks where the original uses it on a GPU.
    compiled : bool
        Compile the network with ``torch.compile``, which takes 20 seconds or more at the first picture.
    batch : int, optional
        Pictures at once, on a CPU at most one for each of PyTorch's threads; default: what half of the free memory
        holds.

    Attributes
    ----------
    config : GeneratorConfig
        The shape of the network.
    device : torch.device
        Where it draws.
    network : GeneratorNetwork
        The PyTorch module. Its forward can be differentiated; its parameters must stay as they are, for what
        follows from them is kept.

    Raises
    ------
    ModuleNotFoundError
        PyTorch is not installed (the extra ``torch``).
    ValueError
        An option is unknown, or the weights do not fit the configuration.
    """

    name = "stylegan2"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        noise: NoiseMode = "const",
        cutoff: int | None = None,
        precision: Precision = "float32",
        compiled: bool = False,
        batch: int | None = None,
    ) -> None:
        torch = _import_torch()
        from idsim.generators.stylegan2.network import load_network  # noqa: PLC0415 - needs torch

        self.config = config = checkpoint.config
        self._options = _Options(noise, cutoff, precision, compiled, batch)
        self._options.check(config.num_ws)
        self._origin = {
            "sha256": checkpoint.provenance.file_sha256,
            "weights_sha256": checkpoint.weights_sha256,
            "provenance": _plain(checkpoint.provenance.as_dict()),
        }
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = load_network(config, checkpoint.weights).to(self.device)
        if noise == "const" and not self.network.synthesis.stores_noise:
            raise ValueError(
                "noise 'const' needs the stored maps, and the checkpoint has none: choose another"
            )
        synthesis = self.network.synthesis
        synthesis.freeze()
        self._synthesis = torch.compile(synthesis, dynamic=False) if compiled else synthesis

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> StyleGan2:
        """Open a checkpoint of any format that is read; ``options`` as those of the class.

        Raises
        ------
        CheckpointError
            The file holds no StyleGAN2 generator that can be read.
        """
        return cls(load_checkpoint(path), **options)

    @property
    def default_psi(self) -> float:
        """The truncation of the scripts whose noise is taken: 0.5 of the TensorFlow ones, otherwise none (1)."""
        return 0.5 if self._options.noise == "seeded-tf" else 1.0

    def describe(self) -> dict[str, Any]:
        """Return everything that the pixels depend on, and the licence."""
        options = self._options
        return {
            "name": self.name,
            "licence": LICENCE,
            **self._origin,
            "config": _plain(dataclasses.asdict(self.config)),
            "default_psi": self.default_psi,
            "noise": options.noise,
            "cutoff": options.cutoff,
            "precision": options.precision,
            "compiled": options.compiled,
        }

    def map(
        self, z: NDArray[np.floating[Any]] | Tensor, *, psi: float | None = None, label: int | None = None
    ) -> Tensor:
        """Return the styles, float32 ``[n, num_ws, w_dim]``, of latent codes ``[n, z_dim]``.

        Raises
        ------
        ValueError
            ``z`` has another shape; a class is missing, unknown, or given to a network without classes; psi is
            not 1 and the network has no mean style.
        """
        import torch

        psi = self._checked_psi(psi)
        self._check_label(label)
        z = torch.as_tensor(z).to(self.device, torch.float32)
        if z.ndim != 2 or z.shape[1] != self.config.z_dim:
            raise ValueError(f"z must be [n, {self.config.z_dim}], not {list(z.shape)}")
        classes = torch.zeros(len(z), self.config.c_dim, device=self.device)
        if label is not None:
            classes[:, label] = 1
        with full_float32():
            return self.network.map(z, classes, psi=psi, cutoff=self._options.cutoff)

    def synthesize(self, ws: Tensor, *, seeds: Sequence[int] | None = None) -> Tensor:
        """Return float pictures ``[n, img_channels, resolution, resolution]``, about -1 to 1.

        Parameters
        ----------
        ws : Tensor
            Styles ``[n, num_ws, w_dim]``.
        seeds : sequence of int, optional
            Needed where noise is drawn by seed.
        """
        options = self._options
        if tuple(ws.shape[1:]) != (self.config.num_ws, self.config.w_dim):
            raise ValueError(
                f"ws must be [n, {self.config.num_ws}, {self.config.w_dim}], not {list(ws.shape)}"
            )
        noise = options.noise if options.noise in {"const", "none"} else self._drawn_noise(seeds, len(ws))
        half = self.config.fp16_resolutions if options.precision == "mixed" else ()
        with full_float32():
            return self._synthesis(ws.to(self.device), noise, half=half)

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return one picture for every seed, drawn when it is asked for.

        Parameters
        ----------
        seeds : sequence of int
            0 to 2^32 - 1.
        psi : float, optional
            Truncation; default: `default_psi`.
        label : int, optional
            Class; required exactly where the network has classes.

        Raises
        ------
        ValueError
            A seed, psi or the label is out of range, or the network's pictures are neither grey nor RGB.
        """
        numbers = [_checked_seed(seed) for seed in seeds]
        psi = self._checked_psi(psi)
        self._check_label(label)
        if self.config.img_channels not in {1, 3}:
            raise ValueError(f"the network's pictures have {self.config.img_channels} channels, not 1 or 3")
        return _Pictures(self, numbers, psi, label)

    def draw(self, seeds: Sequence[int], psi: float, label: int | None) -> NDArray[np.uint8]:
        """Return the pictures of a batch, uint8 ``[n, height, width, 3]``."""
        import torch

        z = np.stack([latent_code(self.config, seed) for seed in seeds])
        with torch.inference_mode():
            images = self.synthesize(self.map(z, psi=psi, label=label), seeds=seeds)
            levels = (images.permute(0, 2, 3, 1) * 127.5 + 128).clamp(0, 255).to(torch.uint8)
            pixels: NDArray[np.uint8] = levels.expand(-1, -1, -1, 3).contiguous().cpu().numpy()
        return pixels

    def batch_size(self) -> int:
        """Return how many pictures are drawn at once."""
        import torch

        on_cpu, batch = self.device.type == "cpu", self._options.batch
        most = int(torch.get_num_threads()) if on_cpu else MAX_BATCH
        if batch is not None:
            return min(batch, most) if on_cpu else batch
        free = _free_memory() if on_cpu else torch.cuda.mem_get_info(self.device)[0]
        return max(1, min(most, int(free) // 2 // self._bytes_per_picture()))

    def _bytes_per_picture(self) -> int:
        synthesis = self.network.synthesis
        sizes = [
            side**2 * len(synthesis.get_submodule(f"b{side}").conv1.weight)
            for side in self.config.block_resolutions
        ]
        return 4 * LIVE_ACTIVATIONS * max(sizes)

    def _drawn_noise(self, seeds: Sequence[int] | None, count: int) -> list[Tensor]:
        import torch

        if seeds is None or len(seeds) != count:
            raise ValueError(
                f"noise {self._options.noise!r} needs a seed for each of {count} pictures, not {seeds}"
            )
        maps = [noise_maps(self.config, seed, self._options.noise) for seed in seeds]
        return [
            torch.from_numpy(np.stack(layer)[:, None]).to(self.device) for layer in zip(*maps, strict=True)
        ]

    def _checked_psi(self, psi: float | None) -> float:
        psi = self.default_psi if psi is None else float(psi)
        if not math.isfinite(psi):
            raise ValueError(f"psi must be finite, not {psi}")
        if psi != 1 and self.network.mapping.w_avg is None:
            raise ValueError(f"psi must be 1, not {psi}: the checkpoint has no mean style (mapping.w_avg)")
        return psi

    def _check_label(self, label: int | None) -> None:
        classes = self.config.c_dim
        if label is None and classes:
            raise ValueError(f"the network has classes 0 to {classes - 1}: a label is needed")
        if label is not None and not classes:
            raise ValueError(f"the network has no classes, and label is {label}")
        if label is not None and not 0 <= operator.index(label) < classes:
            raise ValueError(f"label must be from 0 to {classes - 1}, not {label}")


@dataclass(frozen=True)
class _Options:
    """How pictures are drawn."""

    noise: NoiseMode
    cutoff: int | None
    precision: Precision
    compiled: bool
    batch: int | None

    def check(self, num_ws: int) -> None:
        if self.noise not in NOISE_MODES:
            raise ValueError(f"noise must be one of {', '.join(NOISE_MODES)}, not {self.noise!r}")
        if self.cutoff is not None and not 0 <= self.cutoff <= num_ws:
            raise ValueError(f"cutoff must be from 0 to {num_ws}, not {self.cutoff}")
        if self.precision not in {"float32", "mixed"}:
            raise ValueError(f"precision must be float32 or mixed, not {self.precision!r}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")


@dataclass(frozen=True)
class _Pictures:
    """The pictures of seeds, drawn batch by batch."""

    generator: StyleGan2
    seeds: list[int]
    psi: float
    label: int | None

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        size = self.generator.batch_size()
        batches = [self.seeds[start : start + size] for start in range(0, len(self.seeds), size)]
        if self.generator.device.type == "cpu":
            return _one_thread_each(self._draw, batches, size)
        return (picture for batch in batches for picture in self._draw(*batch))

    def _draw(self, *seeds: int) -> NDArray[np.uint8]:
        return self.generator.draw(seeds, self.psi, self.label)


def _one_thread_each(
    draw: Callable[[int], NDArray[np.uint8]], batches: Sequence[Sequence[int]], threads: int
) -> Iterator[NDArray[np.uint8]]:
    """Draw the pictures of a batch at once, each by a thread that shares its work with no other."""
    import torch

    before = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for batch in batches:
            with full_float32():  # for all, as the switches are the process's
                pictures = list(pool.map(draw, batch))
            torch.set_num_threads(before)  # what threads that start elsewhere take; the pool's keep their 1
            for picture in pictures:
                yield from picture


def _free_memory() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields as they come back from JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _checked_seed(seed: int) -> int:
    number = operator.index(seed)
    if not 0 <= number <= LAST_SEED:
        raise ValueError(f"seeds go from 0 to {LAST_SEED}, not {number}")
    return number


def _import_torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the generator stylegan2 needs PyTorch: pip install 'idsim[torch]'", name="torch"
        ) from None
    return torch
