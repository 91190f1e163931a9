"""The description of a scan: what is accepted, what is refused by name."""

from __future__ import annotations

import tomllib

import pytest

from idsim.audit.configuration.config import from_tables, read_config
from idsim.audit.configuration.matcher_config import matcher_of
from idsim.audit.configuration.toml_text import to_toml

SETS = {name: {"embeddings": f"{name}.npy"} for name in ("synthetic", "training", "holdout")}


def tables(**changes):
    return {"run": {"name": "a"}, **{name: dict(part) for name, part in SETS.items()}, **changes}


def config(tmp_path, **changes):
    return from_tables(tables(**changes), tmp_path / "scan.toml")


def test_defaults_are_the_two_standard_operating_points(tmp_path):
    targets = config(tmp_path).calibration.targets()
    assert [target.name for target in targets] == ["fpir=0.01", "fmr=1e-06"]


def test_the_primary_point_comes_first(tmp_path):
    chosen = {"fpir": [0.01, 0.1], "fmr": [1e-4], "thresholds": [0.6], "primary": "fmr=0.0001"}
    names = [target.name for target in config(tmp_path, calibration=chosen).calibration.targets()]
    assert names == ["fmr=0.0001", "fpir=0.01", "fpir=0.1", "threshold=0.6"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sintetic": {}}, "did you mean synthetic"),
        ({"run": {"nam": "a"}}, "did you mean name"),
        ({"run": {"name": ""}}, "must name the run"),
        ({"run": {"name": "../x"}}, "without slashes"),
        ({"run": {"name": "a", "seed": -1}}, "seed must be at least 0"),
        ({"run": {"name": "a", "seed": True}}, "must be a whole number"),
        ({"run": {"name": "a", "seed": "0"}}, "must be a whole number"),
        ({"source": {}}, r"\[source\] is not known"),
        ({"base": {}}, r"\[base\] is not known"),
        ({"schema": 2}, "schema 2 is not known"),
        ({"synthetic": {}}, "either images, a generator, embeddings or ids"),
        ({"synthetic": {"images": "x", "embeddings": "y"}}, "either images, a generator, embeddings or ids"),
        (
            {"synthetic": {"images": "x", "generator": "y.pkl"}},
            "either images, a generator, embeddings or ids",
        ),
        ({"synthetic": {"generator": "y.pkl"}}, "all sets must be images"),
        ({"training": {"generator": "y.pkl"}}, "generator is not known"),
        ({"synthetic": {"embeddings": "s.npy", "psi": 0.5}}, "psi belongs to a generator"),
        ({"synthetic": {"generator": "y.pkl", "labels": "folder"}}, "labels must be 'each'"),
        ({"synthetic": {"generator": "y.pkl", "seeds": "9-0"}}, "backwards"),
        ({"synthetic": {"generator": ["y.pkl", 3]}}, "must be a string"),
        ({"synthetic": {"generator": "y.pkl", "psi": [0.5, 0.5]}}, "named twice"),
        ({"synthetic": {"generator": "y.pkl", "classes": 0.5}}, "must be a whole number"),
        ({"synthetic": {"images": "x"}}, "all sets must be images"),
        ({"training": {"embeddings": "t.npy", "labels": "folder"}}, "not 'folder'"),
        ({"matcher": {"kind": "dlib"}}, "kind must be 'embeddings'"),
        ({"matcher": {"metric": "dot"}}, "metric must be"),
        ({"matcher": {"align": "none"}}, "align belongs to images"),
        ({"calibration": {"fmr": [1.5]}}, "fmr must lie between 0 and 1"),
        ({"calibration": {"fmr": [], "fpir": []}}, "at least one operating point"),
        ({"calibration": {"fpir": [0.1, 0.1]}}, "twice"),
        ({"calibration": {"primary": "fmr=1"}}, "primary must be one of"),
        ({"calibration": {"against": "both"}}, "against must be"),
        ({"statistics": {"confidence": 1.0}}, "confidence must lie"),
        ({"statistics": {"bootstrap": 3}}, "bootstrap must be at least"),
        ({"output": {"matches": 0}}, "matches must be at least 1"),
        ({"holdout": []}, "must be a table"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        config(tmp_path, **changes)


@pytest.mark.parametrize("name", ["synthetic", "training", "holdout"])
def test_all_three_sets_are_needed(tmp_path, name):
    given = tables()
    del given[name]
    with pytest.raises(ValueError, match=rf"\[{name}\] is missing"):
        from_tables(given, tmp_path / "scan.toml")


def test_images_refuse_what_belongs_to_embeddings(tmp_path):
    images = {name: {"images": name} for name in SETS}
    with pytest.raises(ValueError, match="belong to embeddings"):
        config(tmp_path, **images, matcher={"metric": "cosine"})
    with pytest.raises(ValueError, match="'each', 'folder' or 'identity'"):
        config(tmp_path, **(images | {"training": {"images": "t", "labels": "x.npy"}}))
    assert config(tmp_path, **images, matcher={"kind": "dlib", "upsample": 1}).matcher.upsample == 1


@pytest.mark.parametrize(
    ("matcher", "reason"),
    [
        ({"kind": "embeddings"}, "another matcher for images"),
        ({"kind": "dlib", "model": "x.onnx"}, "model belongs to a matcher other than dlib"),
        ({"detector": "mtcnn"}, "detector belongs to a matcher other than dlib, and kind is 'dlib'"),
        ({"kind": "arcface-w600k-r50", "pad": False}, "pad belongs to dlib, and kind is 'arcface-w600k-r50'"),
    ],
)
def test_keys_of_another_matcher_are_refused(tmp_path, matcher, reason):
    images = {name: {"images": name} for name in SETS}
    with pytest.raises(ValueError, match=reason):
        config(tmp_path, **images, matcher=matcher)


def test_a_network_is_opened_where_the_configuration_lies(tmp_path):
    images = {name: {"images": name} for name in SETS}
    chosen = {"kind": "mine.py:matcher", "device": "cpu"}
    (tmp_path / "mine.py").write_text(
        "class Own:\n"
        "    name, metric, dim = 'own', 'cosine', 2\n"
        "    def describe(self): return {'name': 'own'}\n"
        "    def represent(self, image): return None\n"
        "def matcher(device): return Own()\n"
    )
    found = config(tmp_path, **images, matcher=chosen)
    assert matcher_of(found.matcher, found.base).name == "own"
    wrong = config(tmp_path, **images, matcher={"kind": "arcface-of-nobody"})
    with pytest.raises(ValueError, match="arcface-of-nobody"):
        matcher_of(wrong.matcher, wrong.base)


def test_sources_of_pictures(tmp_path):
    images = {name: {"images": name} for name in SETS}
    ffhq = {"images": "ffhq", "kind": "ffhq", "split": "training", "labels": "identity"}
    assert config(tmp_path, **(images | {"training": ffhq})).training.split == "training"
    for more, reason in (
        ({"kind": "tar"}, "kind must be one of folder"),
        ({"split": "test"}, "split must be"),
    ):
        with pytest.raises(ValueError, match=reason):
            config(tmp_path, **(images | {"training": ffhq | more}))
    with pytest.raises(ValueError, match="kind belongs to images"):
        config(tmp_path, **{name: {"embeddings": "x.npy", "kind": "folder"} for name in SETS})


def test_the_resolved_file_is_the_same_scan(tmp_path):
    odd = 'quote " backslash \\ tab \t ümlaut \u202e'
    given = config(
        tmp_path,
        matcher={"name": odd, "metric": "l2"},
        calibration={"fpir": 0.1, "thresholds": [1, 1e-9]},
        training={"embeddings": "t.npy", "labels": "group"},
    )
    text = to_toml(given.resolved())
    assert from_tables(tomllib.loads(text), tmp_path / "scan.toml") == given
    assert to_toml(from_tables(tomllib.loads(text), tmp_path / "b.toml").resolved()) == text


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "scan.toml"
    for content in (b"[run", b"\xff\xfe", b"x = 1\n" * 200_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"scan\.toml"):
            read_config(path)


def test_seeds_are_one_range_or_several(tmp_path):
    def drawn(seeds):
        sets = {name: {"images": name} for name in ("training", "holdout")}
        return config(tmp_path, synthetic={"generator": "y.pkl", "seeds": seeds}, **sets).synthetic

    assert drawn("0-9").seeds == ("0-9",)
    assert drawn("").seeds == ()
    assert [entry.name for entry in drawn(["0-9", "10-19"]).series()] == ["y-seeds0-9", "y-seeds10-19"]


def test_a_matcher_with_files_of_its_own_keeps_the_strata(tmp_path):
    sets = {name: {"images": name, "strata": f"{name}.csv"} for name in SETS}
    own = {"name": "own", "kind": "embeddings", **{name: f"{name}.npy" for name in SETS}}
    alone = config(tmp_path, **sets, matcher=[{"kind": "dlib"}, own]).alone()["own"]
    assert alone.holdout.embeddings == "holdout.npy"
    assert [part.strata for part in alone.sets.values()] == [f"{name}.csv" for name in SETS]
