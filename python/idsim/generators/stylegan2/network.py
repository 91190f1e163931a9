"""The StyleGAN2 generator as a PyTorch module whose state is the canonical weights, name by name.

Parameters can be trained and the forward differentiated twice; ``double()`` gives the float64 truth. Source:
Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from idsim.generators.stylegan2 import layers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from idsim.generators.stylegan2.config import GeneratorConfig

__all__ = ["GeneratorNetwork", "Noise", "load_network", "truncate"]

Noise = Literal["const", "random", "none"] | Sequence["Tensor"]

FILTER = (1.0, 3.0, 3.0, 1.0)
FIRST_HALF = 8  # the first block is never in half precision


def _taps() -> Tensor:
    taps = torch.tensor(FILTER)
    return torch.outer(taps, taps) / taps.sum() ** 2


def _channels_last(tensor: Tensor) -> bool:
    """Whether float32 convolutions are faster with the channels last: on a CPU, where it halves the time (measured)."""
    return bool(tensor.device.type == "cpu")


class FullyConnected(nn.Module):
    """A fully connected layer with an equalised learning rate."""

    def __init__(
        self, features: int, out_features: int, *, multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.multiplier = multiplier
        self.weight = nn.Parameter(torch.randn(out_features, features) / multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[n, out_features]``."""
        return layers.linear(x, self.weight, self.bias, self.multiplier)


class MappingNetwork(nn.Module):
    """Latent codes and labels to styles."""

    def __init__(self, config: GeneratorConfig, embed_features: int, layer_features: int) -> None:
        super().__init__()
        self.config = config
        sizes = [config.z_dim, *[layer_features] * (config.mapping_layers - 1), config.w_dim]
        if config.c_dim:
            self.embed = FullyConnected(config.c_dim, embed_features)
            sizes[0] += embed_features
        for i, (features, out_features) in enumerate(itertools.pairwise(sizes)):
            layer = FullyConnected(features, out_features, multiplier=config.lr_multiplier)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return styles ``[n, w_dim]`` of codes ``[n, z_dim]`` and one-hot labels ``[n, c_dim]``."""
        x = layers.unit_rms(z)
        if self.config.c_dim:
            x = torch.cat([x, layers.unit_rms(self.embed(label))], dim=1)
        gain = layers.gain_of(self.config.activation)
        for i in range(self.config.mapping_layers):
            x = layers.activate(gain * self.get_submodule(f"fc{i}")(x), self.config.activation)
        return x


def truncate(w: Tensor, w_avg: Tensor | None, psi: float, num_ws: int, cutoff: int | None = None) -> Tensor:
    """Return styles ``[n, num_ws, w_dim]``: ``w`` moved towards its mean, in the first ``cutoff`` or all."""
    ws = w[:, None].expand(-1, num_ws, -1)
    if psi == 1:
        return ws
    if w_avg is None:
        raise ValueError(f"psi must be 1, not {psi}: this network has no mean style (mapping.w_avg)")
    moved = torch.lerp(w_avg, w, psi)[:, None]
    count = num_ws if cutoff is None else cutoff
    return torch.cat([moved.expand(-1, count, -1), ws[:, count:]], dim=1)


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution with noise, bias and activation; doubles the resolution if told so."""

    def __init__(
        self,
        config: GeneratorConfig,
        features: tuple[int, int],
        resolution: int,
        *,
        up: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        inputs, outputs = features
        self.config, self.side, self.up = config, resolution, up
        self.gain = layers.gain_of(config.activation) * gain
        self.clamp = None if config.conv_clamp is None else config.conv_clamp * gain
        self.affine = FullyConnected(config.w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", _taps())
        self.register_buffer("squares", None, persistent=False)
        if config.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Return ``[n, outputs, r, r]``; ``noise`` is ``[r, r]`` or ``[n, 1, r, r]``."""
        weight, styles, squares = self.weight, self.affine(w), self.squares
        if x.dtype == torch.float16:
            weight, styles = layers.same_maximum(weight, styles)
            squares = None
        if squares is None:
            squares = layers.filter_squares(weight)
        factors = layers.demodulation(squares, styles) * self.gain
        taps = self.resample_filter if self.up else None
        x = layers.modulated_convolution(x, weight, styles, factors, self.bias * self.gain, taps)
        if noise is not None and self.config.use_noise:
            x = x.add_((noise * (self.noise_strength * self.gain)).to(x.dtype))
        return layers.activate(x, self.config.activation, self.clamp)

    def freeze(self, *, channels_last: bool) -> None:
        """Keep what follows from the weight alone, and lay the weight out as the convolution takes it."""
        weight = self.weight.data
        self.squares = layers.filter_squares(weight)
        if channels_last and self.up:  # a transposed convolution has inputs first
            weight = weight.transpose(0, 1).contiguous(memory_format=torch.channels_last).transpose(0, 1)
        elif channels_last:
            weight = weight.contiguous(memory_format=torch.channels_last)
        self.weight.data = weight

    def noise_of(self, noise: str, like: Tensor) -> Tensor | None:
        """Return the noise "const" or "random" for the samples of ``like``."""
        if not self.config.use_noise or noise == "none":
            return None
        if noise == "random":
            return torch.randn(len(like), 1, self.side, self.side, dtype=like.dtype, device=like.device)
        if self.noise_const is None:
            raise ValueError("noise 'const' needs the stored maps, and these weights have none")
        return self.noise_const


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution to the picture's channels."""

    def __init__(self, config: GeneratorConfig, features: int) -> None:
        super().__init__()
        self.clamp = config.conv_clamp
        self.affine = FullyConnected(config.w_dim, features, bias=1.0)
        self.weight = nn.Parameter(torch.randn(config.img_channels, features, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.img_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return ``[n, img_channels, r, r]``."""
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = layers.modulated_convolution(x, self.weight, styles, None, self.bias)
        return layers.activate(x, "linear", self.clamp)


class Skip(nn.Module):
    """The path past a residual block: a 1 x 1 convolution at twice the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.register_buffer("resample_filter", _taps())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[n, outputs, 2r, 2r]``, scaled for the sum with the block."""
        weight = self.weight * math.sqrt(0.5 / self.weight.shape[1])
        return layers.double(nn.functional.conv2d(x, weight.to(x.dtype)), self.resample_filter)


class SynthesisBlock(nn.Module):
    """The layers of one resolution."""

    def __init__(self, config: GeneratorConfig, inputs: int, outputs: int, resolution: int) -> None:
        super().__init__()
        self.first, residual = resolution == 4, config.architecture == "resnet" and resolution > 4
        if self.first:
            self.const = nn.Parameter(torch.randn(outputs, 4, 4))
        else:
            self.conv0 = SynthesisLayer(config, (inputs, outputs), resolution, up=True)
        gain = math.sqrt(0.5) if residual else 1.0
        self.conv1 = SynthesisLayer(config, (outputs, outputs), resolution, gain=gain)
        self.skip = Skip(inputs, outputs) if residual else None
        last = resolution == config.resolution
        self.torgb = ToRGB(config, outputs) if last or config.architecture == "skip" else None
        self.register_buffer("resample_filter", _taps())

    def forward(
        self, x: Tensor, image: Tensor | None, ws: Tensor, noise: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return activations and picture; ``ws`` ``[n, layers + 1, w_dim]``, ``noise`` one map per layer."""
        past = self.skip(x) if self.skip is not None else None
        if not self.first:
            x = self.conv0(x, ws[:, 0], noise[0])
        x = self.conv1(x, ws[:, -2], noise[-1])
        if past is not None:
            x = past.add_(x)
        if self.torgb is None:
            return x, image
        rgb = self.torgb(x, ws[:, -1]).to(ws.dtype)
        return x, rgb if image is None else layers.double(image, self.resample_filter).add_(rgb)

    @property
    def layers(self) -> tuple[SynthesisLayer, ...]:
        """The layers with noise, in order."""
        return (self.conv1,) if self.first else (self.conv0, self.conv1)


class SynthesisNetwork(nn.Module):
    """Styles to pictures."""

    def __init__(self, config: GeneratorConfig, channels: Mapping[int, int]) -> None:
        super().__init__()
        self.config = config
        inputs = channels[4]
        for resolution in config.block_resolutions:
            outputs = channels[resolution]
            self.add_module(f"b{resolution}", SynthesisBlock(config, inputs, outputs, resolution))
            inputs = outputs

    def forward(self, ws: Tensor, noise: Noise = "const", *, half: Sequence[int] = ()) -> Tensor:
        """Return pictures ``[n, img_channels, resolution, resolution]``, about -1 to 1.

        Parameters
        ----------
        ws : Tensor
            ``[n, num_ws, w_dim]``.
        noise : {"const", "random", "none"} or sequence of Tensor
            The maps of the weights, fresh ones for every sample from torch's generator, or none; or the map
            of every layer, ``[n, 1, r, r]``.
        half : sequence of int
            Resolutions of the blocks that compute in half precision.
        """
        x, image, first = self._start(ws), None, 0
        for resolution in self.config.block_resolutions:
            block = self.get_submodule(f"b{resolution}")
            count = len(block.layers)
            maps = (
                [layer.noise_of(noise, ws) for layer in block.layers]
                if isinstance(noise, str)
                else noise[first : first + count]
            )
            x = self._placed(x, half=resolution in half and resolution >= FIRST_HALF)
            x, image = block(x, image, ws[:, first : first + count + 1], maps)
            first += count
        return image

    def freeze(self) -> None:
        """Make the forward faster for weights that no longer change, on the device where they are."""
        for module in self.modules():
            if isinstance(module, SynthesisLayer):
                module.freeze(channels_last=_channels_last(module.weight))

    @property
    def stores_noise(self) -> bool:
        """Whether every layer with noise has its map."""
        return all(
            layer.noise_const is not None for layer in self.modules() if hasattr(layer, "noise_strength")
        )

    def _start(self, ws: Tensor) -> Tensor:
        return self.b4.const.to(ws.dtype).expand(len(ws), -1, -1, -1)

    def _placed(self, x: Tensor, *, half: bool) -> Tensor:
        """Return ``x`` in the block's dtype and in the memory order in which convolutions are fastest.

        Tensor cores want channels last for half precision.
        """
        dtype = torch.float16 if half else self.b4.const.dtype
        last = half or _channels_last(x)
        return x.to(dtype, memory_format=torch.channels_last if last else torch.contiguous_format)


class GeneratorNetwork(nn.Module):
    """Mapping and synthesis; the names of ``state_dict()`` are the canonical ones.

    A new network has random weights from torch's generator, as training starts with.

    Parameters
    ----------
    config : GeneratorConfig
        The shape.
    channels : mapping of int to int
        Channels of the block of every resolution.
    embed_features, layer_features : int, optional
        Widths of the label's embedding and of the mapping layers; default ``w_dim``.
    """

    def __init__(
        self,
        config: GeneratorConfig,
        channels: Mapping[int, int],
        *,
        embed_features: int | None = None,
        layer_features: int | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config, embed_features or config.w_dim, layer_features or config.w_dim)
        self.synthesis = SynthesisNetwork(config, channels)

    def map(
        self, z: Tensor, label: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """Return styles ``[n, num_ws, w_dim]`` of codes ``[n, z_dim]`` and one-hot labels ``[n, c_dim]``."""
        mapping = self.mapping
        return truncate(mapping(z, label), mapping.w_avg, psi, self.config.num_ws, cutoff)

    def forward(
        self, z: Tensor, label: Tensor | None = None, *, psi: float = 1.0, noise: Noise = "const"
    ) -> Tensor:
        """Return the pictures of latent codes, ``[n, img_channels, resolution, resolution]``."""
        return self.synthesis(self.map(z, label, psi=psi), noise)


def load_network(config: GeneratorConfig, weights: Mapping[str, NDArray[Any]]) -> GeneratorNetwork:
    """Return a network with these weights, ready for inference; the arrays are copied.

    Parameters
    ----------
    config : GeneratorConfig
        The shape; channels and widths follow from the weights.
    weights : mapping of str to ndarray
        Canonical names. Absent filters are the usual one; ``mapping.w_avg`` and the ``noise_const`` may be absent.

    Raises
    ------
    ValueError
        An array is missing, unknown or of another shape than the configuration says.
    """
    channels = {r: _size(weights, f"synthesis.b{r}.conv1.bias", 0) for r in config.block_resolutions}
    layer_features = _size(weights, "mapping.fc0.weight", 0) if config.mapping_layers > 1 else None
    embed_features = _size(weights, "mapping.embed.weight", 0) if config.c_dim else None
    with torch.device("meta"):
        network = GeneratorNetwork(
            config, channels, embed_features=embed_features, layer_features=layer_features
        )
    state = {name: torch.tensor(array) for name, array in weights.items()}
    _fit_buffers(network, state)
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"the weights are not those of {config}: {error}") from None
    network.requires_grad_(requires_grad=False).eval()
    return network


def _size(weights: Mapping[str, NDArray[Any]], name: str, axis: int) -> int:
    if name not in weights:
        raise ValueError(f"the weights lack {name}")
    return int(weights[name].shape[axis])


def _fit_buffers(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Leave out the buffers that the state may lack, and give every filter the shape of its array or the usual one."""
    for path, module in network.named_modules():
        for name in ("w_avg", "noise_const"):
            if name in module._buffers and f"{path}.{name}" not in state:
                module.register_buffer(name, None)
        if "resample_filter" not in module._buffers:
            continue
        taps = state.setdefault(f"{path}.resample_filter", _taps())
        if taps.ndim != 2 or min(taps.shape) < 2:
            raise ValueError(f"{path}.resample_filter must be at least 2 x 2, not {list(taps.shape)}")
        module.register_buffer("resample_filter", torch.empty_like(taps, device="meta"))
