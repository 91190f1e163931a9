"""The scripts that train the matchers: margin losses against closed forms, changes of pictures, export."""

from __future__ import annotations

import csv
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from idsim.demo_world import person, portrait
from idsim.matchers import open_embedder

torch = pytest.importorskip("torch")
SCRIPTS = Path(__file__).parents[2] / "examples" / "demo_world"
angles = torch.linspace(0.01, math.pi - 0.01, 400, dtype=torch.float64)


@pytest.fixture
def script(monkeypatch):
    """Import one of the scripts by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def portraits(people, image):
    """Portraits ``[people, 3, 32, 32]``, one of each person."""
    pictures = [portrait(person("trial", number), image) for number in range(people)]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


# --- margins --------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.2])
def test_the_additive_margin_is_the_cosine_of_a_sum(script, margin):
    found = script("margin_losses").additive_margin(angles.cos(), margin)
    inside = margin + angles < math.pi
    torch.testing.assert_close(found[inside], (angles + margin).cos()[inside], atol=1e-4, rtol=0)
    beyond = (angles.cos() - margin * math.sin(margin))[~inside]
    torch.testing.assert_close(found[~inside], beyond)
    assert (found.diff() < 0).all()


def test_whole_multiplicative_margins_are_chebyshev_polynomials(script):
    margin_of, cosines = script("margin_losses").multiplicative_margin, angles.cos()
    torch.testing.assert_close(margin_of(cosines, 1.0), cosines)
    doubled, quarter = 2 * cosines**2 - 1, math.pi / 2
    torch.testing.assert_close(margin_of(cosines, 2.0), torch.where(angles < quarter, doubled, -doubled - 2))
    fourfold = 8 * cosines**4 - 8 * cosines**2 + 1
    torch.testing.assert_close(margin_of(cosines, 4.0)[angles < math.pi / 4], fourfold[angles < math.pi / 4])


@pytest.mark.parametrize("margin", [1.0, 1.35, 1.7, 3.0])
def test_the_multiplicative_margin_falls_without_a_jump(script, margin):
    found = script("margin_losses").multiplicative_margin(angles.cos(), margin)
    assert (found.diff() < 0).all()
    # The derivative by the angle is at most the margin.
    assert found.diff().abs().max() <= margin * angles.diff().max() + 1e-9
    assert found[0] == pytest.approx(1, abs=1e-3)
    assert margin != round(margin) or found[-1] == pytest.approx(1 - 2 * margin, abs=1e-3)


@pytest.mark.parametrize(("kind", "margin"), [("additive", 0.4), ("multiplicative", 1.5)])
def test_a_margin_makes_the_loss_larger_and_its_gradients_finite(script, kind, margin):
    torch.manual_seed(0)
    head = script("margin_losses").MarginHead(kind, people=5, dim=8, scale=10.0)
    labels = torch.tensor([0, 1, 4, 4])
    # One embedding lies on its own class, one right opposite: there the arc cosine has no finite gradient.
    embeddings = torch.randn(4, 8)
    embeddings[0], embeddings[1] = 3 * head.weight[0].detach(), -2 * head.weight[1].detach()
    embeddings.requires_grad_()
    plain, hits = head(embeddings, labels, 0.0, margin)
    cosines = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(head.weight).T
    torch.testing.assert_close(
        plain, torch.nn.functional.cross_entropy(10 * cosines, labels), atol=1e-4, rtol=0
    )
    assert hits == (cosines.argmax(1) == labels).sum()
    assert hits >= 1
    half, full = (head(embeddings, labels, strength, margin)[0] for strength in (0.5, 1.0))
    assert plain < half < full
    full.backward()
    assert all(
        value.grad.isfinite().all() and value.grad.abs().max() > 0 for value in (embeddings, head.weight)
    )


# --- changes of pictures --------------------------------------------------------------------------


def test_the_cosine_transform_is_orthonormal_and_small_steps_change_nothing(script):
    augment = script("augment")
    matrix = augment.cosines_of_8()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(8), atol=1e-6, rtol=0)
    pictures = 255 * torch.rand(2, 3, 32, 32)
    step = torch.full((2, 1, 1, 1), 1e-3)
    torch.testing.assert_close(augment.quantised(pictures, step), pictures, atol=0.01, rtol=0)
    # Very coarse steps leave the mean of every block, rounded to a multiple of step / 8.
    coarse = augment.quantised(pictures, torch.full((2, 1, 1, 1), 4000.0))
    assert coarse.std((2, 3)).max() < 1e-3


def test_changed_pictures_are_levels_and_the_same_for_the_same_seed(script):
    augment = script("augment")
    pictures = portraits(16, 0)
    first, again, other = (
        augment.augmented(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == pictures.shape
    assert first.min() >= 0
    assert first.max() <= 255
    assert torch.equal(first, first.round())
    assert (first != pictures).any((1, 2, 3)).all()


def test_without_turning_zooming_moving_and_colours_pictures_are_mirrored_at_most(script, monkeypatch):
    augment = script("augment")
    for name in ("TURN", "ZOOM", "SHIFT", "GAIN", "OFFSET", "GREY", "BLURRED", "NOISY", "QUANTISED"):
        monkeypatch.setattr(augment, name, 0.0)
    pictures = portraits(16, 0)
    found = augment.augmented(pictures, torch.Generator().manual_seed(3))
    plain, mirrored = ((found == kind).all(dim=(1, 2, 3)) for kind in (pictures, pictures.flip(3)))
    assert (plain | mirrored).all()
    assert plain.any()
    assert mirrored.any()


def test_a_blur_keeps_the_mean_and_takes_contrast_away(script):
    blurred = script("augment").blurred
    board = (torch.arange(32)[:, None] + torch.arange(32)[None]).remainder(2).float().expand(
        4, 3, 32, 32
    ) * 200
    found = blurred(board, torch.Generator().manual_seed(5))[..., 1:-1, 1:-1]
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.full((4,), 100.0))
    contrast = found.std((1, 2, 3)) / board[..., 1:-1, 1:-1].std((1, 2, 3))
    # Of the highest frequency in both directions (1 - 4 a)^2 is left, a from 0 to 1 / 3.
    assert (contrast < 1).all()
    assert contrast.unique().numel() == 4


# --- training and export --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["drawn-arcface", "drawn-sphereface"])
def test_a_short_training_learns_and_its_file_gives_the_network_s_vectors(
    script, monkeypatch, tmp_path, name
):
    training = script("train_matchers")
    arguments = [
        "train_matchers.py",
        name,
        str(tmp_path),
        "--people",
        "16",
        "--images",
        "16",
        "--epochs",
        "4",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    threads = torch.get_num_threads()
    try:
        training.main()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=False)
    with (tmp_path / f"{name}.csv").open() as file:
        log = list(csv.DictReader(file))
    assert len(log) == 4
    assert float(log[-1]["right"]) > 2 * float(log[0]["right"])
    networks = script("matcher_networks")
    network = networks.NETWORKS[training.MATCHERS[name].network]()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(tmp_path / f"{name}.safetensors"))
    rounded = script("export_matcher").halved(network.eval())
    pictures = portraits(6, image=1)
    with torch.inference_mode():
        vectors, trained = (kind(networks.fed(pictures.float())) for kind in (rounded, network))
    found = open_embedder(str(tmp_path / f"{name}.onnx")).embed(
        pictures.permute(0, 2, 3, 1).contiguous().numpy()
    )
    expected = torch.nn.functional.normalize(vectors).numpy()
    assert np.abs(found - expected).max() < 1e-4
    # Rounding to 16 bits and merging the normalisations change next to nothing.
    assert (torch.nn.functional.cosine_similarity(vectors, trained) > 0.9999).all()
