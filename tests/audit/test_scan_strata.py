"""Scans whose sets say which group of people their items are of."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.makers import face_set, unit
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.run import scan
from idsim.audit.strata_files import read_strata
from idsim.errors import MatcherError

SCAN = """
[run]
name = "run"
dir = "."
[synthetic]
embeddings = "synthetic.npy"
strata = "synthetic-strata.npy"
[training]
embeddings = "training.npy"
strata = "training-strata.npy"
[holdout]
embeddings = "holdout.npy"
strata = "holdout-strata.npy"
[matcher]
kind = "embeddings"
[calibration]
fpir = [0.05]
fmr = [1e-3]
[statistics]
bootstrap = 200
permutations = 999
[analysis]
literature = "no"
manifold = "no"
"""

LEAKS = 24


def groups(persons, women, other=0):
    return np.array(["f"] * women + ["m"] * (persons - women - other) + ["x"] * other)


def write_sets(folder):
    """Persons of one group resemble each other; the first synthetic images are of women of the training set."""
    rng = np.random.default_rng(0)
    middle = {group: rng.standard_normal(64) for group in "fmx"}

    def directions(cells):
        own = rng.standard_normal((len(cells), 64))
        return own + 0.45 * np.stack([middle[cell] for cell in cells])

    cells = {"training": groups(160, 100), "holdout": groups(160, 60, 4), "synthetic": groups(220, 120, 6)}
    faces = {name: directions(own) for name, own in cells.items()}
    faces["synthetic"][:LEAKS] = faces["training"][:LEAKS] + 0.5 * rng.standard_normal((LEAKS, 64))
    cells["synthetic"][-7] = ""
    for name, rows in faces.items():
        np.save(folder / f"{name}.npy", unit(rows))
        np.save(folder / f"{name}-strata.npy", cells[name])
    (folder / "scan.toml").write_text(SCAN)


@pytest.fixture
def sets(tmp_path):
    write_sets(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A finished scan, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("scanned")
    write_sets(folder)
    scan(folder / "scan.toml")
    return folder


def change(folder, before, after):
    text = (folder / "scan.toml").read_text()
    assert before in text
    (folder / "scan.toml").write_text(text.replace(before, after))


def strata_of(folder):
    return scan(folder / "scan.toml").summary["analysis"]["strata"]


def test_leaks_planted_in_one_group_are_found_there_alone(scanned):
    found = strata_of(scanned)
    assert (found["operating_point"], found["matched_by_strata"]) == ("fpir=0.05", True)
    assert found["items_without_stratum"] == 1
    rows = {row["stratum"]: row for row in found["strata"]}
    assert list(rows) == ["f", "m", "x"]
    women, men, others = rows.values()
    assert (women["items"], women["clusters"], women["persons"]) == (
        120,
        120,
        {"training": 100, "holdout": 60},
    )
    assert sum(row["share"] for row in rows.values()) == pytest.approx(219 / 220)
    for comparison in ("every_person", "same_stratum"):
        leak, clean = women[comparison], men[comparison]
        # Galleries of 60 women: 60 of the 100 of the training set, and of the leaks.
        assert 0 < leak["low"] <= 0.6 * LEAKS / 120 <= leak["high"]
        assert leak["permutation_p"] < 0.01
        assert leak["permutation_p_corrected"] == pytest.approx(2 * leak["permutation_p"])
        assert clean["low"] < 0 < clean["high"]
        assert clean["permutation_p_corrected"] > 0.05
        assert others[comparison]["refused"] == "6 synthetic clusters are of this stratum, and 30 are needed"
    assert women["same_stratum"]["persons"] == 60
    assert men["same_stratum"]["persons"] == 60


def test_people_of_one_group_match_more_often(scanned):
    found = strata_of(scanned)
    pooled, same = found["false_matches"]["pooled"], found["false_matches"]["same_stratum"]
    assert same["rate"] > 1.5 * pooled["rate"]
    assert same["low"] < same["rate"] < same["high"]
    rates = [row["same_stratum_fmr"] for row in found["strata"]]
    assert rates[0]["trials"] == 60 * 59 // 2
    assert rates[0]["errors"] + rates[1]["errors"] == same["errors"]
    assert rates[2]["refused"].startswith("4 persons of the holdout")


def test_the_standardised_rate_follows_the_weights(scanned, sets):
    found = strata_of(scanned)["standardised"]
    assert found["weights"] == "synthetic"
    assert found["every_person"]["strata"] == ["f", "m"]
    assert found["every_person"]["covered"] == pytest.approx(213 / 219)
    by_weights = {}
    for weights in ('["f=1", "m=3"]', '"training"'):
        change(sets, 'name = "run', f'name = "run{len(by_weights)}')
        text = (sets / "scan.toml").read_text()
        head = text.partition("strata_weights")[0].rstrip()
        (sets / "scan.toml").write_text(f"{head}\nstrata_weights = {weights}\n")
        result = strata_of(sets)
        rows = {row["stratum"]: row for row in result["strata"]}
        by_weights[weights] = result["standardised"], rows
    mixed, rows = by_weights['["f=1", "m=3"]']
    expected = (rows["f"]["every_person"]["rate"] + 3 * rows["m"]["every_person"]["rate"]) / 4
    assert mixed["every_person"]["rate"] == pytest.approx(expected)
    assert mixed["weights"] == "given"
    assert mixed["every_person"]["rate"] < found["every_person"]["rate"]
    training = by_weights['"training"'][0]["every_person"]
    expected = (100 * rows["f"]["every_person"]["rate"] + 60 * rows["m"]["every_person"]["rate"]) / 160
    assert training["rate"] == pytest.approx(expected)
    assert training["covered"] == 1


def test_weights_of_a_group_that_is_not_there_are_refused(sets):
    change(sets, 'manifold = "no"', 'manifold = "no"\nstrata_weights = ["g=1"]')
    assert "'g', and there is no such stratum" in strata_of(sets)["standardised"]["refused"]


def test_groups_of_synthetic_faces_alone(sets):
    change(sets, 'strata = "training-strata.npy"\n', "")
    found = strata_of(sets)
    assert not found["matched_by_strata"]
    assert [row["stratum"] for row in found["strata"]] == ["f", "m", "x"]
    women = found["strata"][0]
    assert women["persons"] is None
    assert women["every_person"]["permutation_p"] == 0.001
    for refusal in (women["same_stratum"], women["same_stratum_fmr"], found["false_matches"]["same_stratum"]):
        assert refusal == {"refused": "training and holdout have no strata"}


def test_without_groups_of_synthetic_faces_a_sentence(sets):
    change(sets, 'strata = "synthetic-strata.npy"\n', "")
    assert strata_of(sets)["refused"].startswith("[synthetic] has no strata")


def test_names_that_are_no_groups_are_refused(sets):
    np.save(sets / "synthetic-strata.npy", np.arange(220))
    assert strata_of(sets)["refused"].startswith("there are 223 strata")


def test_groups_that_real_sets_do_not_share_are_refused(sets):
    np.save(sets / "training-strata.npy", np.full(160, "y"))
    assert strata_of(sets)["refused"] == "no stratum is in training and in the holdout"


def test_changed_strata_are_another_scan(scanned, sets):
    shutil.copytree(scanned / "run", sets / "run")
    cells = np.load(sets / "training-strata.npy")
    cells[0] = "m"
    np.save(sets / "training-strata.npy", cells)
    with pytest.raises(ValueError, match=r"inputs\.training\.strata"):
        scan(sets / "scan.toml")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"holdout-strata.npy"', '"sex"', r"\[holdout\] strata: there is no column 'sex'"),
        (
            '"holdout-strata.npy"',
            '"synthetic-strata.npy"',
            r"\[holdout\] strata: .* must hold 160 integers or strings",
        ),
        (
            'manifold = "no"',
            'manifold = "no"\nstrata_weights = "men"',
            r"\[analysis\] strata_weights must be one of",
        ),
    ],
)
def test_what_cannot_be_is_named(sets, before, after, words):
    change(sets, before, after)
    with pytest.raises(ValueError, match=words):
        scan(sets / "scan.toml")


def test_a_column_of_the_embeddings_names_the_groups(scanned, sets):
    before = strata_of(scanned)
    vectors, cells = np.load(sets / "holdout.npy"), np.load(sets / "holdout-strata.npy").tolist()
    table = pa.table({"vector": list(vectors), "group_of_age": [cell or None for cell in cells]})
    pq.write_table(table, sets / "holdout.parquet")
    change(sets, '"holdout.npy"', '"holdout.parquet"')
    change(sets, '"holdout-strata.npy"', '"group_of_age"')
    assert strata_of(sets) == before


# --- files ----------------------------------------------------------------------------------------


def test_a_list_names_the_group_of_every_item(tmp_path):
    (tmp_path / "a.csv").write_text("item,stratum\nb,m\na,f\nc,\nz,m\n")
    assert read_strata("holdout", tmp_path / "a.csv", ["a", "b", "c"]) == ["f", "m", ""]
    np.save(tmp_path / "a.npy", np.array([20, 30, 20]))
    assert read_strata("holdout", tmp_path / "a.npy", ["a", "b", "c"]) == ["20", "30", "20"]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("item,stratum\na,f\n", ValueError, r"\[probes\] strata: .* no row for 1 of 2 items, such as 'b'"),
        ("item,stratum\na,f\na,m\nb,m\n", ValueError, "two strata for 'a'"),
        ("item\na\nb\n", ValueError, "no column stratum"),
        ("item,sex\na,f\nb,f\n", MatcherError, "columns must be item"),
    ],
)
def test_lists_that_leave_a_group_open_are_refused(tmp_path, text, kind, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(kind, match=words):
        read_strata("probes", tmp_path / "a.csv", ["a", "b"])


def test_a_set_without_persons_keeps_the_groups_of_the_others():
    faces = face_set("holdout", np.eye(4), ["a", "b", "a", "c"])
    assert faces.without({"a"}).strata is None
    faces.strata = ["f", "m", "", "x"]
    assert faces.without({"a"}).strata == ["m", "x"]


# --- pictures -------------------------------------------------------------------------------------

PICTURES = """
[run]
name = "run"
dir = "."
[synthetic]
{synthetic}
[training]
images = "training"
strata = "strata.csv"
{mirrored}
[holdout]
images = "holdout"
strata = "strata.csv"
{mirrored}
[calibration]
fpir = [0.15]
fmr = [0.02]
[statistics]
bootstrap = 100
permutations = 99
"""

MODEL = """
import numpy as np

def draw(seeds):
    for seed in seeds:
        colours = np.random.RandomState(seed).randint(1, 256, (4, 4, 3))
        yield np.kron(colours, np.ones((4, 4, 1))).astype(np.uint8)
"""


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["item,stratum"]
    for name, count in (("training", 34), ("holdout", 33), ("synthetic", 32)):
        (tmp_path / name).mkdir()
        for number in range(count):
            pixels = np.kron(rng.integers(1, 256, (4, 4, 3)), np.ones((4, 4, 1)))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{number:02d}.png")
    rows += [f"{number:02d}.png,{'old' if number else 'young'}" for number in range(34)]
    rows += [f"seed{number:08d},old" for number in range(64)]
    (tmp_path / "strata.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


@pytest.mark.parametrize("mirrored", [False, True])
def test_groups_of_pictures(pictures, monkeypatch, mirrored):
    use(monkeypatch, GridMatcher())
    text = PICTURES.format(
        synthetic='images = "synthetic"\nstrata = "strata.csv"',
        mirrored="mirrored = true" if mirrored else "",
    )
    (pictures / "scan.toml").write_text(text)
    old, young = strata_of(pictures)["strata"]
    assert (old["stratum"], old["items"], old["persons"]) == ("old", 31, {"training": 33, "holdout": 32})
    assert (young["stratum"], young["items"], young["persons"]) == ("young", 1, {"training": 1, "holdout": 1})
    images = 2 if mirrored else 1
    assert old["same_stratum_fmr"]["trials"] == images**2 * 32 * 31 // 2
    assert "refused" in young["every_person"]
    provenance = json.loads((pictures / "run" / "provenance.json").read_text())
    assert len(provenance["inputs"]["holdout"]["strata"]) == 64


def test_groups_of_a_series_of_drawn_pictures(pictures, monkeypatch):
    use(monkeypatch, GridMatcher())
    drawn = 'generator = "model.py:draw"\nseeds = ["0-31", "32-63"]\nstrata = "strata.csv"'
    (pictures / "scan.toml").write_text(PICTURES.format(synthetic=drawn, mirrored=""))
    result = scan(pictures / "scan.toml")
    for row in result.summary["series"]:
        own = json.loads((result.folder / row["folder"] / "summary.json").read_text())
        old = own["analysis"]["strata"]["strata"][0]
        assert (old["stratum"], old["items"], old["share"]) == ("old", 32, 1.0)
        assert old["same_stratum"]["clusters"] == 32


@pytest.mark.parametrize(
    ("synthetic", "words"),
    [
        (
            'images = "synthetic"\nstrata = "age"',
            r"\[synthetic\] strata must be a .npy or .csv file, not 'age'",
        ),
        (
            'generator = "model.py:draw"\nseeds = "0-9"\nstrata = "a.npy"',
            r"strata must be a .csv file for a generator",
        ),
        ('generator = "model.py:draw"\nseeds = "0-99"\nstrata = "strata.csv"', "no row for 36 of 100 items"),
    ],
)
def test_files_that_do_not_fit_pictures_are_refused(pictures, monkeypatch, synthetic, words):
    use(monkeypatch, GridMatcher())
    (pictures / "scan.toml").write_text(PICTURES.format(synthetic=synthetic, mirrored=""))
    with pytest.raises(ValueError, match=words):
        scan(pictures / "scan.toml")
