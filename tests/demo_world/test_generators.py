"""The generators that come with the package: they load, and know whom they should know."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from idsim.demo_world import person, portrait, weights
from idsim.generators.stylegan2 import StyleGan2, find_problems, load_checkpoint

SAMPLES = 100
EXAMPLES = Path(__file__).parents[2] / "examples" / "demo_world"
TRAINED_ON = {"few": ("training-few", 32, 12), "many": ("training-many", 2000, 1)}


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    written = weights.write_generators(tmp_path_factory.mktemp("generators"))
    return dict(zip(weights.GENERATORS, written, strict=True))


@pytest.fixture(scope="module")
def samples(generators):
    return {
        name: np.stack(list(StyleGan2.open(path, device="cpu").sample(range(SAMPLES), psi=1.0)))
        for name, path in generators.items()
    }


def set_of(population, people, images):
    return np.stack([portrait(person(population, who), i) for who in range(people) for i in range(images)])


def without_light(pictures):
    """Pictures as vectors, each channel of each with mean 0 and deviation 1."""
    x = pictures.astype(np.float64)
    x = (x - x.mean((1, 2), keepdims=True)) / (x.std((1, 2), keepdims=True) + 1)
    return x.reshape(len(x), -1)


def nearest(pictures, others):
    """Mean squared difference from the nearest of the others, light aside."""
    a, b = without_light(pictures), without_light(others)
    return ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T).min(1) / a.shape[1]


@pytest.mark.parametrize("name", weights.GENERATORS)
def test_a_generator_is_complete_and_says_where_it_comes_from(generators, name):
    read = load_checkpoint(generators[name])
    assert find_problems(read, generators[name]) == []
    assert (read.config.resolution, read.config.img_channels) == (32, 3)
    origin = read.provenance.converted_from
    population, people, images = TRAINED_ON[name]
    assert origin["licence"].startswith("Apache-2.0")
    assert f"{people} people of the population {population!r}" in origin["training_set"]
    assert f"{images} drawn portrait" in origin["training_set"]
    assert "--seed" in origin["training"]
    with (EXAMPLES / f"generator-{name}.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    assert int(log[-1]["images"]) == round(1000 * origin["kimg"])


def test_everything_that_ships_is_small():
    folder = Path(weights.__file__).parent
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) < 8 << 20


def test_samples_are_pictures_that_differ(samples):
    for name, pictures in samples.items():
        assert pictures.shape == (SAMPLES, 32, 32, 3), name
        assert pictures.dtype == np.uint8, name
        assert np.median(nearest(pictures[: SAMPLES // 2], pictures[SAMPLES // 2 :])) > 0.02, name
        assert pictures.std((1, 2, 3)).min() > 10, name


def test_few_knows_its_pictures_by_heart_and_many_does_not(samples):
    """A sample is nearer to its training set than to as many pictures of others: by chance in half of the cases.

    Three standard deviations of a share of 100 samples are 0.15.
    """
    closer = {}
    for name, (population, people, images) in TRAINED_ON.items():
        sets = (set_of(group, min(people, 400), images) for group in (population, "holdout"))
        trained, others = (nearest(samples[name], pictures) for pictures in sets)
        closer[name] = np.mean(trained < others)
    assert closer["few"] > 0.65
    assert 0.35 < closer["many"] < 0.65


def test_weights_are_not_written_over(tmp_path):
    written = weights.write_generators(tmp_path)
    assert weights.write_generators(tmp_path) == written
    written[0].write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"few\.safetensors is there already and is another file"):
        weights.write_generators(tmp_path)
