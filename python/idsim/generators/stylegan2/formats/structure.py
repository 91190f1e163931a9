"""Whether tensors form a StyleGAN2 generator: the configuration that follows from their shapes, then every shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from idsim.generators.stylegan2.config import Architecture, GeneratorConfig
from idsim.generators.stylegan2.formats.base import Findings, LazyTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import NoReturn

__all__ = ["Structure", "filter_tensor", "other_family"]

MAX_RESOLUTION = 4096
# The largest tensor has 38 MB: one that is transposed stands in memory twice for a moment.
MAX_CHANNELS = 1024
MAX_WIDTH = 2048
MAX_CLASSES = 4096
MAX_MAPPING_LAYERS = 64
MAX_FILTER = 16
ACTIVATIONS = ("lrelu", "linear")

_BLOCK = re.compile(r"synthesis\.b(\d{1,6})\.")
_FC = re.compile(r"mapping\.fc(\d{1,3})\.weight\Z")
_DEFAULT_TAPS = (1.0, 3.0, 3.0, 1.0)

# Names of other networks and layouts -> what they are.
_OTHERS = (
    (r"(.*\.)?synthesis\.(input\.|L\d+_)", "a StyleGAN3 network (configuration T or R), not a StyleGAN2 generator"),
    (r"(GAN|GE|SE|G|S)\.(GE|SE|blocks|net|initial)", "lucidrains' stylegan2-pytorch, another network"),
    (r"(.*\.)?backbone\.synthesis\.", "a network of the EG3D family, not a StyleGAN2 generator"),
    (r"(generator(_ema)?\.)?style_mapping\.", "a generator as mmgeneration stores it, a layout that is not read"),
    (r"truncation\.w_avg|synthesis\.early_layer\.", "a generator as genforce stores it, a layout that is not read"),
)  # fmt: skip


def other_family(names: Iterable[str]) -> str:
    """Return what tensors of these names belong to, where it is no StyleGAN2 generator that is read."""
    listed = list(names)
    for pattern, family in _OTHERS:
        if any(re.match(pattern, name) for name in listed):
            return family
    return "not a StyleGAN2 generator: there is no tensor synthesis.b4.const"


def filter_tensor(taps: Sequence[float]) -> LazyTensor:
    """Return the two-dimensional filter of a row of taps, with sum 1."""
    row = np.asarray(taps, np.float32)
    kernel = np.outer(row, row)
    kernel /= kernel.sum()
    return LazyTensor(kernel.shape, 0, kernel.copy)


class Structure:
    """The configuration and the tensors of a generator, checked against each other.

    Parameters
    ----------
    found : Findings
        What a reader found.
    refuse : callable
        Raises the error of the file, from a place and a reason.

    Attributes
    ----------
    config : GeneratorConfig
        The configuration.
    tensors : dict of str to LazyTensor
        All tensors by name, filters that the file lacks among them.
    warnings : list of str
        What was filled in or is missing.
    """

    def __init__(self, found: Findings, refuse: Callable[[str, str], NoReturn]) -> None:
        self._refuse = refuse
        self._shapes = {name: tensor.shape for name, tensor in found.tensors.items()}
        self.tensors = dict(found.tensors)
        self.warnings: list[str] = []
        if "synthesis.b4.const" not in self._shapes:
            refuse("names", other_family(self._shapes))
        self.config = self._config(found)
        self._check()

    def _extent(self, name: str, axis: int, most: int = MAX_CHANNELS) -> int:
        shape = self._shapes.get(name, ())
        if axis >= len(shape):
            self._refuse(name, "it is missing or has too few dimensions")
        if not 1 <= shape[axis] <= most:
            self._refuse(name, f"extent {shape[axis]} of its shape is not from 1 to {most}")
        return shape[axis]

    def _config(self, found: Findings) -> GeneratorConfig:
        resolution = max(int(match[1]) for name in self._shapes if (match := _BLOCK.match(name)))
        if not 8 <= resolution <= MAX_RESOLUTION or resolution & (resolution - 1):
            self._refuse(
                f"synthesis.b{resolution}", f"a resolution that is no power of two up to {MAX_RESOLUTION}"
            )
        layers = sum(1 for name in self._shapes if _FC.match(name))
        if not 1 <= layers <= MAX_MAPPING_LAYERS:
            self._refuse("mapping", f"it has {layers} layers, not 1 to {MAX_MAPPING_LAYERS}")
        embed, classes = 0, 0
        if "mapping.embed.weight" in self._shapes:
            embed = self._extent("mapping.embed.weight", 0, MAX_WIDTH)
            classes = self._extent("mapping.embed.weight", 1, MAX_CLASSES)
        z_dim = self._extent("mapping.fc0.weight", 1, 2 * MAX_WIDTH) - embed
        if z_dim < 1:
            self._refuse("mapping.fc0.weight", f"no latent code is left beside {embed} values of the label")
        if found.activation not in ACTIVATIONS:
            self._refuse("activation", f"{found.activation[:40]!r} is not one of {', '.join(ACTIVATIONS)}")
        return GeneratorConfig(
            resolution=resolution,
            img_channels=self._extent(f"synthesis.b{resolution}.torgb.weight", 0, 16),
            z_dim=z_dim,
            w_dim=self._extent("synthesis.b4.conv1.affine.weight", 1, MAX_WIDTH),
            c_dim=classes,
            mapping_layers=layers,
            lr_multiplier=found.lr_multiplier,
            architecture=self._architecture(),
            activation=found.activation,
            conv_clamp=found.conv_clamp,
            use_noise="synthesis.b4.conv1.noise_strength" in self._shapes,
            fp16_resolutions=found.fp16_resolutions,
        )

    def _architecture(self) -> Architecture:
        if "synthesis.b4.torgb.weight" in self._shapes:
            return "skip"
        return "resnet" if "synthesis.b8.skip.weight" in self._shapes else "orig"

    def _check(self) -> None:
        config = self.config
        if not 0 < config.lr_multiplier < 1e6:
            self._refuse("lr_multiplier", f"{config.lr_multiplier} is not positive")
        if not set(config.fp16_resolutions) <= set(config.block_resolutions):
            self._refuse("fp16_resolutions", f"{config.fp16_resolutions} are not resolutions of blocks")
        filters = self._filters()
        expected = self._expected()
        for name, shape in expected.items():
            if name not in self._shapes:
                self._refuse(name, f"it is missing; shape {shape} is expected")
            if self._shapes[name] != shape:
                self._refuse(name, f"its shape is {self._shapes[name]}, where {shape} is expected")
        for name in self._shapes:
            if name not in expected and name not in filters:
                self._refuse(name, "it is not a tensor of a StyleGAN2 generator of this configuration")

    def _expected(self) -> dict[str, tuple[int, ...]]:
        config = self.config
        expected: dict[str, tuple[int, ...]] = {}
        width = self._extent("mapping.fc0.weight", 1, 2 * MAX_WIDTH)
        if config.c_dim:
            embed = width - config.z_dim
            expected |= {"mapping.embed.weight": (embed, config.c_dim), "mapping.embed.bias": (embed,)}
        for layer in range(config.mapping_layers):
            name = f"mapping.fc{layer}"
            last = layer == config.mapping_layers - 1
            out = config.w_dim if last else self._extent(f"{name}.weight", 0, MAX_WIDTH)
            expected |= {f"{name}.weight": (out, width), f"{name}.bias": (out,)}
            width = out
        if "mapping.w_avg" in self._shapes:
            expected["mapping.w_avg"] = (config.w_dim,)
        inputs = 0
        for resolution in config.block_resolutions:
            inputs = self._expect_block(expected, resolution, inputs)
        return expected

    def _expect_block(self, expected: dict[str, tuple[int, ...]], resolution: int, inputs: int) -> int:
        """Add the tensors of a block and return its channels."""
        config, block = self.config, f"synthesis.b{resolution}"
        channels = self._extent(f"{block}.conv1.weight", 0)
        if resolution == 4:
            expected[f"{block}.const"] = (channels, 4, 4)
        else:
            self._expect_layer(expected, f"{block}.conv0", (channels, inputs, 3, 3), resolution)
        self._expect_layer(expected, f"{block}.conv1", (channels, channels, 3, 3), resolution)
        if config.architecture == "skip" or resolution == config.resolution:
            self._expect_styled(expected, f"{block}.torgb", (config.img_channels, channels, 1, 1))
        if config.architecture == "resnet" and resolution > 4:
            expected[f"{block}.skip.weight"] = (channels, inputs, 1, 1)
        return channels

    def _expect_styled(
        self, expected: dict[str, tuple[int, ...]], name: str, weight: tuple[int, int, int, int]
    ) -> None:
        expected |= {
            f"{name}.weight": weight,
            f"{name}.bias": weight[:1],
            f"{name}.affine.weight": (weight[1], self.config.w_dim),
            f"{name}.affine.bias": weight[1:2],
        }

    def _expect_layer(
        self,
        expected: dict[str, tuple[int, ...]],
        name: str,
        weight: tuple[int, int, int, int],
        resolution: int,
    ) -> None:
        self._expect_styled(expected, name, weight)
        if self.config.use_noise:
            expected[f"{name}.noise_strength"] = ()
            if self._has_noise_maps:
                expected[f"{name}.noise_const"] = (resolution, resolution)

    @property
    def _has_noise_maps(self) -> bool:
        return "synthesis.b4.conv1.noise_const" in self._shapes

    def _filters(self) -> set[str]:
        """Return the names of all filters; check those that are there and fill in the others."""
        config = self.config
        owners: list[tuple[str, bool]] = []  # and whether the generator uses it
        for resolution in config.block_resolutions:
            block = f"synthesis.b{resolution}"
            owners += [(block, resolution > 4 and config.architecture == "skip"), (f"{block}.conv1", False)]
            if resolution > 4:
                owners.append((f"{block}.conv0", True))
                owners += [(f"{block}.skip", True)] * (config.architecture == "resnet")
        missing = []
        for owner, used in owners:
            name = f"{owner}.resample_filter"
            shape = self._shapes.get(name)
            if shape is None:
                missing += [name] * used
                self.tensors[name] = filter_tensor(_DEFAULT_TAPS)
            elif len(shape) != 2 or shape[0] != shape[1] or not 1 <= shape[0] <= MAX_FILTER:
                self._refuse(name, f"its shape {shape} is not that of a square filter up to {MAX_FILTER}")
        if missing:
            self.warnings.append(f"{len(missing)} filters are not in the file and are taken as [1, 3, 3, 1]")
        if config.use_noise and not self._has_noise_maps:
            self.warnings.append("the constant noise maps are not in the file")
        return {f"{owner}.resample_filter" for owner, _ in owners}
