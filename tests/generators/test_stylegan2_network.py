"""The network against a plain formulation in float64, and its operations against small cases by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from bench.stylegan2_weights import Widths, random_checkpoint

from bench import stylegan2_reference
from idsim.generators.stylegan2 import layers
from idsim.generators.stylegan2.config import GeneratorConfig
from idsim.generators.stylegan2.network import GeneratorNetwork, load_network, truncate
from support.torch_threads import one_thread  # noqa: F401 - a fixture

USUAL = (1, 3, 3, 1)
WIDTHS = Widths(channel_base=512, channel_max=24)
PLAIN = GeneratorConfig(resolution=32, img_channels=3, z_dim=16, w_dim=16, c_dim=0, mapping_layers=2)
# Every dimension is another number, so that none can stand for another.
ODD = GeneratorConfig(
    resolution=32, img_channels=1, z_dim=18, w_dim=14, c_dim=5, mapping_layers=3, lr_multiplier=0.02, use_noise=False
)  # fmt: skip
ODD_WIDTHS = Widths(channel_base=352, channel_max=22, embed_features=9, layer_features=21)
CASES = {
    "skip": (PLAIN, WIDTHS, USUAL),
    "orig": (dataclasses.replace(PLAIN, architecture="orig"), WIDTHS, USUAL),
    "resnet": (dataclasses.replace(PLAIN, architecture="resnet", conv_clamp=0.7), WIDTHS, USUAL),
    "clamp": (dataclasses.replace(PLAIN, conv_clamp=0.9), WIDTHS, USUAL),
    "linear": (dataclasses.replace(PLAIN, activation="linear"), WIDTHS, USUAL),
    "odd": (ODD, ODD_WIDTHS, (1, 4, 6, 4, 1)),
    "odd resnet": (dataclasses.replace(ODD, architecture="resnet"), ODD_WIDTHS, (1, 4, 6, 4, 1)),
    "asymmetric": (PLAIN, WIDTHS, (1, 2, 5, 1)),
    "asymmetric resnet": (dataclasses.replace(PLAIN, architecture="resnet"), WIDTHS, (1, 2, 5)),
    "two taps": (PLAIN, WIDTHS, (1, 1)),
    "lowest": (dataclasses.replace(PLAIN, resolution=8, mapping_layers=1), WIDTHS, USUAL),
}


def network_of(case: str) -> tuple[GeneratorNetwork, dict[str, torch.Tensor]]:
    config, widths, taps = CASES[case]
    weights = random_checkpoint(config, widths, taps=taps).weights
    return load_network(config, weights), {name: torch.tensor(array) for name, array in weights.items()}


def inputs(config: GeneratorConfig, count: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    z = torch.from_numpy(rng.standard_normal((count, config.z_dim))).to(dtype)
    classes = torch.arange(count) % max(config.c_dim, 1)
    return z, torch.nn.functional.one_hot(classes, max(config.c_dim, 1))[:, : config.c_dim].to(dtype)


def truth(case: str, ws: torch.Tensor, noise="const") -> torch.Tensor:
    _, weights = network_of(case)
    wide = {name: tensor.double() for name, tensor in weights.items()}
    return stylegan2_reference.synthesize(CASES[case][0], wide, ws.double(), noise)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("noise", ["const", "none", "maps"])
@pytest.mark.parametrize("case", CASES)
def test_synthesis_is_the_plain_formulation(case, noise, count):
    network, _ = network_of(case)
    network = network.double()
    sides = [layer.side for layer in network.modules() if hasattr(layer, "side")]
    maps = [torch.randn(count, 1, side, side, dtype=torch.float64) for side in sides]
    noise = maps if noise == "maps" else noise
    with torch.inference_mode():
        ws = network.map(*inputs(network.config, count, torch.float64))
        # A style of its own for every layer, so that a layer that takes its neighbour's is seen.
        ws = ws + torch.linspace(-1, 1, ws.shape[1] * ws.shape[2], dtype=ws.dtype).reshape(ws.shape[1:])
        difference = network.synthesis(ws, noise) - truth(case, ws, noise)
    assert difference.abs().max() < 1e-12


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_float32(case, count, frozen):
    network, weights = network_of(case)
    if frozen:
        network.synthesis.freeze()
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0)
    with torch.inference_mode():
        ws = network.map(*inputs(network.config, count, torch.float32))
        assert (network.synthesis(ws) - truth(case, ws)).abs().max() < 5e-5


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("case", ["clamp", "resnet", "odd"])
def test_half_precision_stays_near(case, count):
    network, _ = network_of(case)
    with torch.inference_mode():
        ws = network.map(*inputs(network.config, count, torch.float32))
        whole = network.synthesis(ws)
        half = network.synthesis(ws, half=(8, 16, 32))
    assert half.dtype == torch.float32
    assert 0 < (half - whole).abs().max() <= 3e-2
    levels = [(image * 127.5 + 128).clamp(0, 255).to(torch.uint8).int() for image in (half, whole)]
    assert (levels[0] - levels[1]).abs().max() <= 2


def test_half_precision_holds_large_weights():
    network, _ = network_of("clamp")
    for layer in network.modules():
        if hasattr(layer, "up"):
            layer.weight *= 1e4
            layer.affine.weight *= 1e2
            layer.affine.bias *= 1e2
    with torch.inference_mode():
        ws = network.map(*inputs(network.config, 2, torch.float32))
        assert (network.synthesis(ws, half=(8, 16, 32)) - network.synthesis(ws)).abs().max() <= 3e-2


def test_the_first_block_is_never_in_half_precision():
    network, _ = network_of("skip")
    with torch.inference_mode():
        ws = network.map(*inputs(network.config, 1, torch.float32))
        assert (network.synthesis(ws, half=(4,)) == network.synthesis(ws)).all()


def test_the_layers_are_fed_the_styles_of_the_paper():
    """conv0, conv1 and torgb take styles i, i + 1, i + 2, and the next block starts with that of torgb."""
    network, _ = network_of("skip")
    taken = {}
    for name, module in network.synthesis.named_modules():
        if name.endswith("affine"):
            module.register_forward_hook(lambda module, x, y, name=name: taken.update({name: x[0]}))
    count = network.config.num_ws
    ws = torch.arange(count).float()[None, :, None].expand(1, count, network.config.w_dim)
    network.synthesis(ws)
    found = {name.removesuffix(".affine"): int(value[0, 0]) for name, value in taken.items()}
    assert found == {
        "b4.conv1": 0, "b4.torgb": 1,
        "b8.conv0": 1, "b8.conv1": 2, "b8.torgb": 3,
        "b16.conv0": 3, "b16.conv1": 4, "b16.torgb": 5,
        "b32.conv0": 5, "b32.conv1": 6, "b32.torgb": 7,
    }  # fmt: skip


@pytest.mark.parametrize("case", ["skip", "resnet", "clamp"])
@pytest.mark.parametrize("count", [1, 2])
def test_gradients_of_first_and_second_order(case, count):
    network, _ = network_of(case)
    network = network.double().requires_grad_()
    z, classes = inputs(network.config, count, torch.float64)
    ws = network.map(z, classes)
    image = network.synthesis(ws)
    (slope,) = torch.autograd.grad((image * torch.randn_like(image)).sum(), ws, create_graph=True)
    slope.square().sum().backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    # The sum over the pictures is linear in what only shifts them.
    assert all(name.endswith((".bias", "noise_strength")) for name in without)
    assert all(
        torch.isfinite(weight.grad).all() for weight in network.parameters() if weight.grad is not None
    )


def test_the_gradient_is_the_slope():
    network, _ = network_of("clamp")
    network = network.double()
    ws = network.map(*inputs(network.config, 1, torch.float64))
    towards = torch.randn_like(ws)
    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    network.synthesis(ws + step * towards).square().mean().backward()
    near = [float(network.synthesis(ws + h * towards).square().mean()) for h in (1e-5, -1e-5)]
    assert float(step.grad) == pytest.approx((near[0] - near[1]) / 2e-5, rel=1e-4)


def test_a_modulated_filter_has_length_one():
    weight, styles = torch.randn(5, 7, 3, 3), torch.randn(2, 7)
    factors = layers.demodulation(layers.filter_squares(weight), styles)
    modulated = weight * styles[:, None, :, None, None] * factors[:, :, None, None, None]
    torch.testing.assert_close(modulated.square().sum(dim=(2, 3, 4)), torch.ones(2, 5))


def test_demodulation_by_hand():
    weight, styles = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1), torch.tensor([[1.0, 2.0]])
    assert float(layers.demodulation(layers.filter_squares(weight), styles)) == pytest.approx(
        1 / math.sqrt(9 + 64)
    )


def test_the_impulse_response_of_doubling():
    """One pixel becomes the filter itself: outer product of 1/4, 3/4, 3/4, 1/4."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 1
    wanted = torch.zeros(8, 8)
    wanted[1:5, 3:7] = 4 * torch.outer(taps, taps)
    torch.testing.assert_close(layers.double(x, torch.outer(taps, taps))[0, 0], wanted)


def test_doubling_with_the_usual_filter_is_bilinear():
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    x = torch.randn(2, 3, 5, 7)
    around = torch.nn.functional.pad(x, (1, 1, 1, 1))
    wide = torch.nn.functional.interpolate(around, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layers.double(x, torch.outer(taps, taps)), wide[..., 2:-2, 2:-2])


def test_the_impulse_response_of_a_doubling_convolution():
    """A filter with one tap in its middle leaves the low-pass filter: a constant stays itself inside."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    found = layers.convolve_up(torch.ones(1, 1, 6, 6), weight, None, torch.outer(taps, taps))[0, 0]
    assert found.shape == (12, 12)
    torch.testing.assert_close(found[1:-1, 1:-1], torch.ones(10, 10))
    assert found[0, 5].item() == found[-1, 5].item() == pytest.approx(0.75)


def test_activation_by_hand():
    x = torch.tensor([-10.0, -1.0, 0.0, 2.0])
    assert layers.activate(x.clone(), "lrelu", 1.5).tolist() == pytest.approx([-1.5, -0.2, 0.0, 1.5])
    assert layers.activate(x.clone(), "linear").tolist() == x.tolist()
    assert layers.gain_of("lrelu") == math.sqrt(2)
    assert layers.gain_of("linear") == 1


def test_a_linear_layer_by_hand():
    weight, bias = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([10.0])
    found = layers.linear(torch.ones(1, 4), weight, bias, 0.5)
    assert float(found) == pytest.approx(10 * 0.5 / 2 + 5)


def test_truncation_by_hand():
    w, mean = torch.tensor([[4.0, 0.0]]), torch.tensor([0.0, 2.0])
    assert truncate(w, mean, 1, 3).tolist() == [[[4.0, 0.0]] * 3]
    assert truncate(w, mean, 0.5, 3).tolist() == [[[2.0, 1.0]] * 3]
    assert truncate(w, mean, 0, 2).tolist() == [[[0.0, 2.0]] * 2]
    assert truncate(w, mean, 2, 1).tolist() == [[[8.0, -2.0]]]
    assert truncate(w, mean, 0.5, 3, 1).tolist() == [[[2.0, 1.0], [4.0, 0.0], [4.0, 0.0]]]
    assert truncate(w, mean, 0.5, 2, 0).tolist() == [[[4.0, 0.0]] * 2]
    assert truncate(w, None, 1, 2).tolist() == [[[4.0, 0.0]] * 2]
    with pytest.raises(ValueError, match=r"psi must be 1, not 0\.5"):
        truncate(w, None, 0.5, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthesis.b8.conv0.weight": None}, r"synthesis\.b8\.conv0\.weight"),
        ({"synthesis.b32.conv1.bias": None}, r"the weights lack synthesis\.b32\.conv1\.bias"),
        ({"mapping.fc1.bias": np.zeros(3, np.float32)}, r"mapping\.fc1\.bias"),
        ({"synthesis.b64.const": np.zeros(3, np.float32)}, r"synthesis\.b64\.const"),
        (
            {"synthesis.b8.resample_filter": np.ones(4, np.float32)},
            r"b8\.resample_filter must be at least 2 x 2",
        ),
    ],
)
def test_weights_of_another_shape_are_refused(change, message):
    weights = random_checkpoint(PLAIN, WIDTHS).weights | change
    weights = {name: array for name, array in weights.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        load_network(PLAIN, weights)


def test_absent_filters_are_the_usual_one():
    weights = random_checkpoint(PLAIN, WIDTHS).weights
    bare = {name: array for name, array in weights.items() if not name.endswith("resample_filter")}
    found = load_network(PLAIN, bare).state_dict()
    np.testing.assert_allclose(found["synthesis.b4.resample_filter"].sum(), 1)
    assert found.keys() == weights.keys()


def test_a_new_network_is_ready_to_train():
    torch.manual_seed(0)
    network = GeneratorNetwork(PLAIN, WIDTHS.channels(PLAIN))
    image = network(torch.randn(4, 16), noise="random")
    assert image.requires_grad
    assert 0.1 < float(image.detach().std()) < 10
    assert network.mapping.fc0.weight.std().item() == pytest.approx(100, rel=0.2)
    assert set(network.synthesis.b8.conv0.affine.bias.tolist()) == {1.0}
