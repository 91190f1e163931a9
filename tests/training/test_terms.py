"""The training terms of StyleGAN2 against closed forms and finite differences, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck

from idsim.generators.stylegan2.training import (
    Ema,
    PathLength,
    lazy_adam,
    logistic_loss,
    mix_styles,
    nonsaturating_loss,
    path_lengths,
    r1_penalty,
)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def normal(*shape, grad=False):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=grad)


# --- losses ---------------------------------------------------------------------------------------


def test_the_losses_are_cross_entropies():
    real, fake = normal(7, 1), normal(5, 1)
    expected = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    torch.testing.assert_close(logistic_loss(real, fake), expected)
    torch.testing.assert_close(nonsaturating_loss(fake), -torch.sigmoid(fake).log().mean())


def test_the_generator_learns_from_pictures_that_are_surely_fake():
    fake = torch.full((4, 1), -200.0, requires_grad=True)
    loss = nonsaturating_loss(fake)
    loss.backward()
    assert loss.item() == 200
    torch.testing.assert_close(fake.grad, torch.full((4, 1), -0.25))


def test_finite_differences_of_the_losses():
    assert gradcheck(nonsaturating_loss, normal(5, 1, grad=True))
    assert gradcheck(logistic_loss, (normal(5, 1, grad=True), normal(3, 1, grad=True)))


# --- R1 -------------------------------------------------------------------------------------------


def test_r1_of_a_linear_discriminator():
    weights, images = normal(3 * 4 * 4, grad=True), normal(6, 3, 4, 4, grad=True)
    penalty = r1_penalty(images.flatten(1) @ weights + 2, images, gamma=10.0)
    torch.testing.assert_close(penalty, 5 * weights.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weights)
    torch.testing.assert_close(gradient, 10 * weights.detach())


def test_r1_of_a_quadratic_discriminator_is_a_mean_over_pictures():
    form, images = normal(12, 12), normal(5, 3, 2, 2, grad=True)
    form = form + form.T
    flat = images.flatten(1)
    penalty = r1_penalty(((flat @ form) * flat).sum(1, keepdim=True) / 2, images, gamma=3.0)
    torch.testing.assert_close(penalty, 1.5 * (flat @ form).square().sum(1).mean())


def test_finite_differences_of_r1():
    images, first, second = normal(3, 2, 4, 4), normal(4, 32, grad=True), normal(4, grad=True)

    def penalty(first, second):
        inputs = images.clone().requires_grad_()
        return r1_penalty(torch.tanh(inputs.flatten(1) @ first.T) @ second, inputs, gamma=2.0)

    assert gradcheck(penalty, (first, second))


def test_r1_refuses_what_it_cannot_differentiate():
    images = normal(2, 3, 4, 4)
    with pytest.raises(ValueError, match="require no gradients"):
        r1_penalty(images.sum((1, 2, 3)), images, gamma=1.0)
    images.requires_grad_()
    with pytest.raises(ValueError, match="6 logits for 2 pictures"):
        r1_penalty(images.sum((2, 3)), images, gamma=1.0)
    with pytest.raises(ValueError, match=r"0 or more, not -1\.0"):
        r1_penalty(images.sum((1, 2, 3)), images, gamma=-1.0)


# --- path length ----------------------------------------------------------------------------------


def linear_generator(matrices, ws):
    """Sum of one linear map for each style; pictures of 2 x 3 pixels with 3 channels."""
    return torch.einsum("lpd,nld->np", matrices, ws).reshape(len(ws), 3, 2, 3)


def test_path_lengths_of_a_linear_generator():
    matrices, ws, noise = normal(4, 18, 5), normal(2, 4, 5, grad=True), normal(2, 3, 2, 3)
    expected = torch.einsum("lpd,np->nld", matrices, noise.flatten(1)).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(path_lengths(linear_generator(matrices, ws), ws, noise), expected)


def test_the_running_mean_and_the_term_of_equal_lengths():
    """With one map and one y for all pictures, every length is L: the mean after t batches is L (1 - 0.99^t)."""
    matrices, noise = normal(1, 18, 5), normal(1, 3, 2, 3).expand(2, -1, -1, -1)
    length = (matrices[0].T @ noise[0].flatten()).norm()
    term = PathLength(weight=2.0, decay=0.01)
    for step in range(1, 4):
        ws = normal(2, 1, 5, grad=True)
        value = term(linear_generator(matrices, ws), ws, noise)
        torch.testing.assert_close(term.mean, length * (1 - 0.99**step))
        torch.testing.assert_close(value, 2 * (length * 0.99**step) ** 2)
    assert not term.mean.requires_grad


def test_finite_differences_of_the_path_length():
    """The mean is a constant of the gradient: its share of the batch is cut off by a tiny decay."""
    ws, noise, matrices = normal(2, 3, 4), normal(2, 3, 2, 3), normal(3, 18, 4, grad=True)

    def penalty(matrices):
        term = PathLength(weight=2.0, decay=1e-12)
        term.mean = torch.tensor(0.7, dtype=torch.float64)
        styles = ws.clone().requires_grad_()
        return term(torch.tanh(linear_generator(matrices, styles)), styles, noise)

    assert gradcheck(penalty, matrices)


def test_the_shares_of_the_mean_are_not_differentiated():
    """A generator of one weight g: every length is |g| L, and the mean does not move with g."""
    term, scale = (
        PathLength(weight=1.0, decay=0.25),
        torch.tensor(2.0, dtype=torch.float64, requires_grad=True),
    )
    ws, noise = normal(1, 1, 4, grad=True), normal(1, 1, 2, 2)
    term(scale * ws.reshape(1, 1, 2, 2), ws, noise).backward()
    length = noise.norm()
    torch.testing.assert_close(scale.grad, 2 * (2 * length - 0.25 * 2 * length) * length)


@pytest.mark.parametrize("side", [8, 32])
def test_the_drawn_noise_has_unit_length_over_the_pixels(side):
    """Pictures that are their styles have the length of y, whose square is 1 in the mean at every resolution."""
    term = PathLength(decay=1.0)
    ws = torch.zeros(64, 1, side * side, requires_grad=True)
    term(ws.reshape(64, 1, side, side), ws)
    assert term.mean.item() == pytest.approx(1.0, abs=0.03)


def test_path_lengths_refuse_what_they_cannot_differentiate():
    ws = normal(2, 3, 4)
    with pytest.raises(ValueError, match="require no gradients"):
        path_lengths(normal(2, 3, 2, 2), ws, normal(2, 3, 2, 2))
    with pytest.raises(ValueError, match=r"noise \[2, 3, 2, 4\]"):
        path_lengths(normal(2, 3, 2, 2), ws.requires_grad_(), normal(2, 3, 2, 4))
    with pytest.raises(ValueError, match="decay"):
        PathLength(decay=0.0)


# --- style mixing ---------------------------------------------------------------------------------


def test_mixed_styles_are_a_head_and_a_tail():
    ws, others = torch.zeros(2, 6, 3), torch.ones(2, 6, 3)
    drawn = [mix_styles(ws, others, probability=0.9)[:, :, 0].sum(1) for _ in range(2000)]
    assert all(first == second for first, second in drawn)
    taken = torch.stack(drawn)[:, 0].to(int)
    counts = torch.bincount(taken, minlength=7)
    assert counts[6] == 0, "the first style is never mixed"
    assert counts[0].item() == pytest.approx(200, abs=60)
    assert all(count.item() == pytest.approx(360, abs=80) for count in counts[1:6])


def test_the_head_comes_first():
    ws, others = torch.zeros(1, 6, 1), torch.ones(1, 6, 1)
    mixed = mix_styles(ws, others, probability=1.0)[0, :, 0]
    assert mixed[0] == 0
    assert mixed[-1] == 1
    assert torch.equal(mixed, mixed.sort().values)


def test_never_mixing_and_shapes_that_do_not_fit():
    ws = normal(2, 6, 3)
    assert mix_styles(ws, normal(2, 6, 3), probability=0.0) is ws
    with pytest.raises(ValueError, match="cannot be mixed"):
        mix_styles(ws, normal(2, 5, 3))


# --- EMA ------------------------------------------------------------------------------------------


class Point(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value, dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0))


def test_the_average_halves_its_distance_in_a_half_life():
    network, start = Point(3.0), Point(1.0)
    ema = Ema(start, half_life=1000, ramp_up=None)
    network.seen.fill_(7)
    for step in range(1, 101):
        ema.update(network, batch=20, seen=20 * step)
        assert ema.network.weight.item() == pytest.approx(3 - 2 * 0.5 ** (20 * step / 1000), rel=1e-12)
    assert ema.network.seen.item() == 7
    assert start.weight.item() == 1.0


def test_the_ramp_forgets_the_start():
    ema = Ema(Point(1.0), half_life=1000, ramp_up=0.05)
    assert ema.decay(batch=20, seen=0) == 0
    assert ema.decay(batch=20, seen=4000) == 0.5 ** (20 / 200)
    assert ema.decay(batch=20, seen=10**9) == 0.5 ** (20 / 1000)
    ema.update(Point(3.0), batch=20, seen=0)
    assert ema.network.weight.item() == 3.0
    assert not ema.network.weight.requires_grad
    assert not ema.network.training
    with pytest.raises(ValueError, match="positive"):
        Ema(Point(1.0), half_life=0)


# --- Adam -----------------------------------------------------------------------------------------


def test_adam_without_lazy_regularisation():
    (group,) = lazy_adam(Point(1.0).parameters(), lr=0.002, interval=None).param_groups
    assert (group["lr"], group["betas"], group["eps"]) == (0.002, (0.0, 0.99), 1e-8)


def test_lazy_adam_forgets_and_moves_as_fast_as_adam():
    """17 steps of the lazy optimiser decay its moments, and move a weight of constant slope, as 16 steps do."""
    interval, moved, squares = 16, [], []
    for optimiser_interval, steps in ((None, interval), (interval, interval + 1)):
        point = Point(1.0)
        optimiser = lazy_adam(point.parameters(), lr=0.002, interval=optimiser_interval, betas=(0.5, 0.99))
        for _ in range(steps):
            optimiser.zero_grad()
            (5 * point.weight).backward()
            optimiser.step()
        moved.append(1 - point.weight.item())
        squares.append(optimiser.state[point.weight]["exp_avg_sq"].item())
    assert moved[0] == pytest.approx(interval * 0.002, rel=1e-6)
    assert moved[1] == pytest.approx(moved[0], rel=1e-6)
    assert squares[0] == pytest.approx(25 * (1 - 0.99**16), rel=1e-9)
    assert squares[1] == pytest.approx(squares[0], rel=1e-9)
    with pytest.raises(ValueError, match="interval"):
        lazy_adam(Point(1.0).parameters(), lr=0.002, interval=0)
