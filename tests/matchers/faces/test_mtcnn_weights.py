"""MTCNN's weights: both file formats hold the same arrays, and damaged files are refused with the reason."""

from __future__ import annotations

import importlib.util
import pickle

import numpy as np
import pytest

from idsim.errors import MatcherError
from idsim.matchers.faces import mtcnn_weights
from idsim.matchers.faces.mtcnn import MtcnnOptions
from idsim.matchers.faces.mtcnn_weights import NETWORKS, find_weights, read_weights


def shapes(name):
    return mtcnn_weights._shapes(NETWORKS[name])


def random_weights(name):
    random = np.random.default_rng(7)
    return {key: random.standard_normal(shape, dtype=np.float32) for key, shape in shapes(name).items()}


def save_torch(path, arrays):
    torch = pytest.importorskip("torch", reason="writes files of PyTorch")
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def save_joblib(path, arrays):
    """Write arrays as the package mtcnn does: TensorFlow's layout, slopes with dimensions of one in front."""
    joblib = pytest.importorskip("joblib", reason="writes files of joblib")
    pytest.importorskip("lz4", reason="needs the extra mtcnn")
    layout = []
    for key, array in arrays.items():
        values = array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])
        layout.append(np.ascontiguousarray(values.reshape(1, 1, -1) if key.startswith("prelu") else values))
    joblib.dump(layout, path, compress="lz4")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("save", "suffix"), [(save_torch, ".pt"), (save_joblib, ".lz4")])
def test_arrays_come_back(tmp_path, name, save, suffix):
    arrays, path = random_weights(name), tmp_path / f"{name}{suffix}"
    save(path, arrays)
    found = read_weights(name, path)
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize(("save", "suffix"), [(save_torch, ".pt"), (save_joblib, ".lz4")])
def test_other_arrays_are_refused(tmp_path, save, suffix):
    path = tmp_path / f"net{suffix}"
    save(path, random_weights("pnet"))
    with pytest.raises(MatcherError, match="net"):
        read_weights("rnet", path)
    arrays = random_weights("pnet")
    arrays["conv2.bias"][3] = np.nan
    save(path, arrays)
    with pytest.raises(MatcherError, match="not finite"):
        read_weights("pnet", path)


@pytest.mark.parametrize(("save", "suffix"), [(save_torch, ".pt"), (save_joblib, ".lz4")])
def test_damaged_files_are_refused(tmp_path, save, suffix):
    path = tmp_path / f"pnet{suffix}"
    save(path, random_weights("pnet"))
    whole = path.read_bytes()
    random = np.random.default_rng(1)
    for cut in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(MatcherError, match="pnet"):
            read_weights("pnet", path)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[random.integers(min(len(whole), 400))] ^= 1 << random.integers(8)
        path.write_bytes(damaged)
        try:
            read_weights("pnet", path)
        except MatcherError as error:
            assert "pnet" in str(error)


def test_nothing_in_a_file_is_run(tmp_path):
    lz4 = pytest.importorskip("lz4.frame", reason="needs the extra mtcnn")

    class Weapon:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for name, data in (
        ("pnet.pt", pickle.dumps(Weapon(), 2)),
        ("pnet.lz4", lz4.compress(pickle.dumps([Weapon()]))),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MatcherError):
            read_weights("pnet", tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_frame_that_unpacks_to_too_much_is_refused(tmp_path):
    lz4 = pytest.importorskip("lz4.frame", reason="needs the extra mtcnn")
    (tmp_path / "pnet.lz4").write_bytes(lz4.compress(bytes(64 << 20)))
    with pytest.raises(MatcherError, match="more than"):
        read_weights("pnet", tmp_path / "pnet.lz4")


def test_weights_are_found_in_a_folder_or_a_package(tmp_path, monkeypatch):
    with pytest.raises(MatcherError, match="not all there"):
        find_weights(str(tmp_path))
    for name in NETWORKS:
        (tmp_path / f"{name}.lz4").write_bytes(b"")
    assert find_weights(str(tmp_path))["rnet"] == tmp_path / "rnet.lz4"
    monkeypatch.setattr(mtcnn_weights, "PLACES", (("no_such_package", "data"),))
    with pytest.raises(ModuleNotFoundError, match=r"idsim\[mtcnn\]"):
        find_weights()


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mtcnn", "facenet_pytorch"))), reason="needs both packages"
)
def test_both_packages_have_the_same_weights():
    folders = dict(mtcnn_weights.PLACES)
    for name in NETWORKS:
        one, other = (
            read_weights(
                name,
                find_weights(f"{importlib.util.find_spec(package).submodule_search_locations[0]}/{inner}")[
                    name
                ],
            )
            for package, inner in folders.items()
        )
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(
    "options",
    [
        {"min_face": 5},
        {"thresholds": (0.5, 0.5)},
        {"thresholds": (0, 1, 2)},
        {"detect_side": 10},
        {"threads": 0},
    ],
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MtcnnOptions(**options)
