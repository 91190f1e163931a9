"""The matchers that come with the package: they open as any model does, and know people they never saw."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from idsim.demo_world import draw, person, portrait
from idsim.demo_world.matchers import MATCHERS, write_matchers
from idsim.matchers import find_spec, open_embedder
from idsim.matchers.checking import check_matcher
from idsim.matchers.opening import open_matcher
from idsim.matchers.pair_statistics import auc

pytest.importorskip("onnxruntime")
MOST_BYTES = 1_250_000  # of one file
PEOPLE, IMAGES = 40, 4


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The files by name, copied out of the package."""
    folder = tmp_path_factory.mktemp("matchers")
    return dict(zip(MATCHERS, write_matchers(folder), strict=True))


@pytest.fixture(scope="module")
def pictures():
    everyone = [person("held-out", number) for number in range(PEOPLE)]
    return np.stack([[portrait(somebody, image) for image in range(IMAGES)] for somebody in everyone])


@pytest.fixture(scope="module")
def embeddings(shipped, pictures):
    flat = pictures.reshape(-1, *pictures.shape[2:])
    return {name: open_embedder(str(path)).embed(flat) for name, path in shipped.items()}


def split(vectors):
    """Scores of pairs of one person, and of two."""
    owners = np.repeat(np.arange(PEOPLE), IMAGES)
    first, second = np.triu_indices(len(owners), 1)
    scores = (vectors[first].astype(np.float64) * vectors[second]).sum(1)
    same = owners[first] == owners[second]
    return scores[same], scores[~same]


def test_the_files_are_small_and_copies_are_never_overwritten(shipped, tmp_path):
    assert list(shipped) == ["drawn-arcface", "drawn-sphereface"]
    assert all(path.stat().st_size < MOST_BYTES for path in shipped.values())
    again = write_matchers(shipped["drawn-arcface"].parent)
    assert again == list(shipped.values())
    (tmp_path / "drawn-sphereface.onnx").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"drawn-sphereface\.onnx is there already"):
        write_matchers(tmp_path)
    assert (tmp_path / "drawn-sphereface.onnx").read_bytes() == b"mine"


@pytest.mark.parametrize(("name", "dim"), [("drawn-arcface", 128), ("drawn-sphereface", 128)])
def test_a_file_carries_all_that_must_be_known(shipped, pictures, name, dim):
    spec = find_spec(str(shipped[name]))
    assert (spec.name, spec.licence, spec.input.size, spec.align.mode) == (
        name,
        "Apache-2.0",
        (32, 32),
        "none",
    )
    assert (spec.input.color, spec.input.mean, spec.input.std) == ("RGB", (127.5,), (127.5,))
    assert (spec.score.metric, spec.dim, spec.output.normalise) == ("cosine", dim, True)
    assert any("no photograph" in note for note in spec.notes)
    matcher = open_matcher(str(shipped[name]))
    found = matcher.represent(pictures[0, 0])
    assert found.route == "none"
    assert found.vector.shape == (dim,)
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)


def test_people_whom_they_never_saw_are_told_apart(embeddings):
    for vectors in embeddings.values():
        same, different = split(vectors)
        assert auc(same, different) > 0.985
        assert np.median(same) > np.quantile(different, 0.99)


def test_the_matchers_err_on_different_pairs(embeddings):
    first, second = (split(vectors)[1] for vectors in embeddings.values())
    assert 0 < np.corrcoef(first, second)[0, 1] < 0.9


def test_the_specification_looks_right_to_the_check(shipped, tmp_path):
    draw(tmp_path / "people", "held-out", 30, 4)
    for path in shipped.values():
        found = check_matcher(str(path), tmp_path / "people")
        wrong = [(entry.check, entry.sentence) for entry in found.findings if entry.ok is False]
        assert (wrong, found.verdict.right) == ([], True)


def test_a_picture_of_another_size_is_refused(shipped, tmp_path):
    draw(tmp_path / "people", "held-out", 2, 2, size=64)
    with pytest.raises(Exception, match=r"64 x 64, and the matcher takes crops of 32 x 32"):
        check_matcher(str(shipped["drawn-arcface"]), tmp_path / "people")
    shutil.rmtree(tmp_path / "people")
