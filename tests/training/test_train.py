"""The trainer on a tiny network: an interrupted run is the same bytes, and the networks learn."""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from idsim.generators.stylegan2 import StyleGan2, find_problems, load_checkpoint

TINY = ["--batch", "4", "--channel-base", "64", "--channel-max", "8", "--latent", "16"]


@pytest.fixture
def train(trainer_folder):
    """The trainer on one thread, which suits so small a network."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module("train")
    torch.set_num_threads(threads)


@pytest.fixture
def faces(trainer_folder, tmp_path, monkeypatch):
    folder = tmp_path / "faces"
    draw_faces = importlib.import_module("draw_faces")
    monkeypatch.setattr(sys, "argv", ["draw_faces.py", str(folder), "--count", "12", "--size", "16"])
    draw_faces.main()
    return folder


@pytest.fixture
def run(train, faces, tmp_path, monkeypatch):
    def command(name, images, *options):
        arguments = ["train.py", str(faces), str(tmp_path / name), "--images", str(images), *TINY, *options]
        monkeypatch.setattr(sys, "argv", [*arguments, "--device", "cpu"])
        train.main()
        return tmp_path / name

    return command


def rows(folder):
    with (folder / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_interrupted_run_is_the_same_bytes(run, capsys):
    """20 steps with regularisation steps of both kinds on either side of the interruption at step 18."""
    whole = run("whole", 80, "--mirror")
    parts = run("parts", 72, "--mirror")
    assert (parts / "checkpoint.safetensors").read_bytes() != (whole / "checkpoint.safetensors").read_bytes()
    assert run("parts", 80, "--mirror") == parts
    assert "resuming after 72 images" in capsys.readouterr().out
    for name in ("checkpoint.safetensors", "generator.safetensors", "losses.csv", "samples-000000080.png"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_rows_after_the_checkpoint_are_cut_off(run):
    folder = run("run", 8)
    with (folder / "losses.csv").open("a") as file:
        file.write("3,12,9,9,9,9,9,9,9\n")
    run("run", 16)
    assert [int(row["step"]) for row in rows(folder)] == [1, 2, 3, 4]
    assert all(row["generator"] != "9" for row in rows(folder))


def test_what_a_run_leaves(run):
    folder = run("run", 24, "--save-every", "12")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors",
        "generator.safetensors",
        "losses.csv",
        "pictures-16.npy",
        "samples-000000012.png",
        "samples-000000024.png",
    ]
    with Image.open(folder / "samples-000000024.png") as grid:
        assert grid.size == (8 * 16, 4 * 16)
    table = rows(folder)
    assert [row["step"] for row in table if row["r1"]] == ["1"]
    assert [row["step"] for row in table if row["path"]] == ["1", "5"]
    with safe_open(folder / "checkpoint.safetensors", "np") as file:
        facts = json.loads(file.metadata()["train_stylegan2"])
        assert (facts["step"], facts["seen"]) == (6, 24)
        assert file.get_tensor("path.mean") == pytest.approx(float(table[4]["path_mean"]), rel=1e-5)
        assert file.get_tensor("generator_steps.0.step") == 6 + 2


def test_idsim_reads_the_average(run):
    """The generator's file holds the average of the checkpoint that it names."""
    folder = run("run", 8)
    read = load_checkpoint(folder / "generator.safetensors")
    assert find_problems(read, folder / "generator.safetensors") == []
    assert (read.config.resolution, read.config.z_dim, read.config.num_ws) == (16, 16, 6)
    content = (folder / "checkpoint.safetensors").read_bytes()
    assert read.provenance.converted_from["file_sha256"] == hashlib.sha256(content).hexdigest()
    assert read.provenance.converted_from["kimg"] == 0.008
    with safe_open(folder / "checkpoint.safetensors", "np") as file:
        for name, value in read.weights.items():
            assert np.array_equal(value, file.get_tensor(f"ema.{name}")), name


def test_idsim_draws_the_grid(run):
    folder = run("run", 8)
    drawn = list(StyleGan2.open(folder / "generator.safetensors", device="cpu").sample([0, 9, 31], psi=1.0))
    with Image.open(folder / "samples-000000008.png") as image:
        tiles = np.asarray(image).reshape(4, 16, 8, 16, 3).transpose(0, 2, 1, 3, 4).reshape(32, 16, 16, 3)
    assert np.abs(tiles[[0, 9, 31]].astype(int) - np.stack(drawn)).max() <= 1
    assert np.abs(tiles[0].astype(int) - drawn[1]).max() > 1


def test_an_export_that_was_cut_off_is_made_again(run):
    folder = run("run", 8)
    written = {
        name: (folder / name).read_bytes() for name in ("generator.safetensors", "samples-000000008.png")
    }
    for name in written:
        (folder / name).unlink()
    run("run", 8)
    assert {name: (folder / name).read_bytes() for name in written} == written


def test_another_seed_is_another_training(run):
    first, other = run("first", 4), run("other", 4, "--seed", "1")
    names = ("samples-000000004.png", "losses.csv")
    assert all((first / name).read_bytes() != (other / name).read_bytes() for name in names)


def test_a_run_of_other_settings_is_not_resumed(run, faces):
    run("run", 4)
    with pytest.raises(SystemExit, match=r"made with rate 0\.002, not 0\.01"):
        run("run", 8, "--rate", "0.01")
    Image.new("RGB", (16, 16)).save(faces / "000000.png")
    (faces.parent / "run" / "pictures-16.npy").unlink()
    with pytest.raises(SystemExit, match="made with pictures"):
        run("run", 8)


def test_bad_options(run):
    with pytest.raises(SystemExit, match="power of two, 8 or more, not 12"):
        run("run", 4, "--resolution", "12")
    with pytest.raises(SystemExit, match="1 or more"):
        run("run", 4, "--save-every", "0")
    with pytest.raises(SystemExit, match="--mixing must be from 0 to 1, not 2"):
        run("run", 4, "--mixing", "2")


def settings(train, **changes):
    values = {
        "resolution": 8,
        "channel_base": 128,
        "channel_max": 16,
        "latent": 16,
        "mapping_layers": 2,
        "batch": 8,
    }
    values |= {
        "rate": 0.002,
        "gamma": 0.01,
        "mixing": 0.9,
        "ema_images": 100.0,
        "mirror": False,
        "seed": 0,
        "pictures": "",
    }
    return train.Settings(**(values | changes))


def test_the_networks_learn_the_colour_of_plain_pictures(train):
    """Pictures of one colour: the samples take it, and the average follows."""
    colour = np.array([0.8, -0.6, 0.1], np.float32)
    batch = np.broadcast_to(colour[:, None, None], (8, 3, 8, 8)).copy()
    training = train.Training(settings(train, rate=0.01), "cpu")
    before = np.asarray(training.grid(), float).mean((0, 1))
    losses = [training.advance(batch) for _ in range(50)]
    after = np.asarray(training.grid(), float).mean((0, 1))
    target = colour * 127.5 + 128
    assert np.abs(before - target).max() > 60
    assert np.abs(after - target).max() < 25
    assert losses[0]["discriminator"] == pytest.approx(2 * np.log(2), abs=0.5)
    assert training.generator.mapping.w_avg.abs().sum() > 0


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_styles_are_mixed_as_often_as_told(train, mixing):
    training = train.Training(settings(train, mixing=mixing), "cpu")
    for _ in range(20):
        _, ws = training.draw(2)
        assert bool((ws[:, :1] == ws).all()) == (mixing == 0)


def test_only_the_network_of_a_step_moves(train):
    training = train.Training(settings(train), "cpu")
    frozen = [value.clone() for value in training.discriminator.parameters()]
    training.train_generator(8, {})
    assert all((a == b).all() for a, b in zip(frozen, training.discriminator.parameters(), strict=True))
    assert all(p.requires_grad for p in training.discriminator.parameters())
    moved = [value.clone() for value in training.generator.parameters()]
    training.train_discriminator(torch.zeros(8, 3, 8, 8), {})
    assert all((a == b).all() for a, b in zip(moved, training.generator.parameters(), strict=True))
    assert any((a != b).any() for a, b in zip(frozen, training.discriminator.parameters(), strict=True))
