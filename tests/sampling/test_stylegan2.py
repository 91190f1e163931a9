"""StyleGAN2 through `idsim sample`: checkpoints by path, classes, series, workers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from idsim.errors import CheckpointError
from idsim.generators import open_generator
from idsim.sampling import SampleConfig, sample
from sampling.makers import contents

pytest.importorskip("torch")

DATA = Path(__file__).parents[1] / "data" / "stylegan2"
PLAIN, CLASSES = DATA / "g32resnet_stripped.pkl", DATA / "g64c3_stripped.pkl"


def test_a_checkpoint_is_sampled_by_the_official_seeds(tmp_path):
    result = sample(SampleConfig((str(PLAIN),), tmp_path / "out", "0-2,85", psi=(0.7,)))
    rows = pq.read_table(result.table).to_pylist()
    assert {row["network_sha256"] for row in rows} == {hashlib.sha256(PLAIN.read_bytes()).hexdigest()}
    expected = open_generator(str(PLAIN), device="cpu").sample([0, 1, 2, 85], psi=0.7)
    for row, picture in zip(rows, expected, strict=True):
        stored = np.asarray(Image.open(result.folder / row["set"] / row["file"]))
        np.testing.assert_array_equal(stored, picture)


def test_classes_are_sets_of_their_own(tmp_path):
    result = sample(SampleConfig((str(CLASSES),), tmp_path / "out", "0-1", labels=(0, 2)))
    assert list(result.sets) == ["g64c3_stripped-label0", "g64c3_stripped-label2"]
    labels = [row["label"] for row in pq.read_table(result.table).to_pylist()]
    assert labels == [0, 0, 2, 2]
    with pytest.raises(ValueError, match="a label is needed"):
        sample(SampleConfig((str(CLASSES),), tmp_path / "none", "0-1"))
    with pytest.raises(ValueError, match="label must be from 0 to 2"):
        sample(SampleConfig((str(CLASSES),), tmp_path / "other", "0-1", labels=(3,)))


def test_noise_is_handed_on_and_is_part_of_the_run(tmp_path):
    const = sample(SampleConfig((str(PLAIN),), tmp_path / "a", "0"))
    without = sample(SampleConfig((str(PLAIN),), tmp_path / "b", "0", noise="none"))
    one, two = (pq.read_table(result.table).column("pixels_sha256")[0] for result in (const, without))
    assert one != two
    with pytest.raises(ValueError, match=r"config\.sample\.noise"):
        sample(SampleConfig((str(PLAIN),), tmp_path / "a", "0", noise="none"))
    with pytest.raises(ValueError, match="noise must be one of"):
        sample(SampleConfig((str(PLAIN),), tmp_path / "c", "0", noise="loud"))


def test_two_workers_draw_a_series_with_the_same_bytes(tmp_path):
    networks = (str(PLAIN), str(DATA / "g64_stripped.pkl"))
    one = sample(SampleConfig(networks, tmp_path / "one", "0-2", psi=(0.7,), devices=("cpu",)))
    two = sample(SampleConfig(networks, tmp_path / "two", "0-2", psi=(0.7,), devices=("cpu", "cpu")))
    assert contents(one.folder) == contents(two.folder)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "net.pkl").write_bytes(b"no pickle")
    for name in ("net.pkl", "absent.pkl"):
        with pytest.raises(CheckpointError, match=name):
            open_generator(name, base=tmp_path)
