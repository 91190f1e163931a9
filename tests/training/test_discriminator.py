"""The trainer's discriminator: names, shapes, filters, and R1 through all of its layers."""

from __future__ import annotations

import importlib
import math

import pytest
import torch

from idsim.generators.stylegan2.training import r1_penalty


@pytest.fixture
def module(trainer_folder):
    return importlib.import_module("discriminator")


def test_names_and_shapes(module):
    network = module.Discriminator({4: 12, 8: 12, 16: 8})
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == {
        "b16.fromrgb.weight": (8, 3, 1, 1),
        "b16.fromrgb.bias": (8,),
        "b16.conv0.weight": (8, 8, 3, 3),
        "b16.conv0.bias": (8,),
        "b16.conv1.weight": (12, 8, 3, 3),
        "b16.conv1.bias": (12,),
        "b16.skip.weight": (12, 8, 1, 1),
        "b8.conv0.weight": (12, 12, 3, 3),
        "b8.conv0.bias": (12,),
        "b8.conv1.weight": (12, 12, 3, 3),
        "b8.conv1.bias": (12,),
        "b8.skip.weight": (12, 12, 1, 1),
        "b4.conv.weight": (12, 13, 3, 3),
        "b4.conv.bias": (12,),
        "b4.fc.weight": (12, 192),
        "b4.fc.bias": (12,),
        "b4.out.weight": (1, 12),
        "b4.out.bias": (1,),
    }
    assert network(torch.zeros(3, 3, 16, 16)).shape == (3, 1)
    with pytest.raises(ValueError, match=r"\[8, 8\] for a discriminator of 16"):
        network(torch.zeros(3, 3, 8, 8))


def test_the_blur_of_a_point(module):
    x = torch.zeros(1, 2, 5, 5)
    x[0, 1, 2, 2] = 64.0
    out = module.blur(x, module.blur_taps(), padding=2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    assert out.shape == (1, 2, 6, 6)
    torch.testing.assert_close(out[0, 1, 1:5, 1:5], torch.outer(taps, taps))
    assert out.sum() == 64
    assert out[0, 0].abs().sum() == 0


@pytest.mark.parametrize("size", [1, 3])
def test_halving_keeps_a_flat_picture_flat(module, size):
    conv = module.Conv(1, 1, size, down=True, bias=False)
    out = conv(torch.ones(1, 1, 16, 16))
    assert out.shape == (1, 1, 8, 8)
    inner = out[0, 0, 2:-2, 2:-2]
    torch.testing.assert_close(inner, torch.full_like(inner, float(conv.weight.detach().sum()) / size))


def test_the_spread_of_a_group(module):
    """Pictures 0 and 2 are one group, 1 and 3 the other."""
    x = torch.zeros(4, 2, 4, 4)
    x[2] = 6.0
    spread = module.with_deviation(x, group=2)[:, 2]
    expected = torch.tensor([3.0, math.sqrt(1e-8), 3.0, math.sqrt(1e-8)])
    torch.testing.assert_close(spread, expected.reshape(4, 1, 1).expand(4, 4, 4))
    assert module.with_deviation(x[:3], group=2).shape == (3, 3, 4, 4)


def test_activations_start_at_unit_scale(module):
    torch.manual_seed(0)
    network = module.Discriminator({4: 64, 8: 64, 16: 64, 32: 64})
    block = network.b32(torch.randn(8, 3, 32, 32))
    assert 0.3 < block.std().item() < 3


def test_finite_differences_of_r1_through_the_network(module):
    """The second derivative of every layer: move all weights along their gradient and look at the penalty."""
    torch.manual_seed(0)
    network = module.Discriminator({4: 8, 8: 4}).double()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)

    def penalty():
        inputs = images.clone().requires_grad_()
        return r1_penalty(network(inputs), inputs, gamma=2.0)

    weights = [p for name, p in network.named_parameters() if name != "b4.out.bias"]
    gradients = torch.autograd.grad(penalty(), weights)
    slope = sum(g.square().sum() for g in gradients)
    size, values = 1e-6, []
    for shift in (size, -2 * size):
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=shift)
        values.append(penalty().item())
    assert (values[0] - values[1]) / (2 * size) == pytest.approx(slope.item(), rel=1e-5)
