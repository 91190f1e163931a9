"""A small run of every sort, made once for all tests of reports."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib: pip install 'idsim[report]'")

import numpy as np
from PIL import Image

from audit.score_makers import config_text, rows_of, write_rows, write_sets
from audit.test_scan_drawn import MODEL, SCAN
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.run import scan
from report.makers import HOSTILE, write_run, write_several


@pytest.fixture(scope="session")
def one(tmp_path_factory):
    """A run of one matcher with a hostile name."""
    return scan(write_run(tmp_path_factory.mktemp("one") / "data", name=HOSTILE)).folder


@pytest.fixture(scope="session")
def uneven(tmp_path_factory):
    """A run whose holdout has fewer persons, and fewer images of some."""
    return scan(write_run(tmp_path_factory.mktemp("uneven") / "data", holdout=60)).folder


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """A run of two matchers."""
    return scan(write_several(tmp_path_factory.mktemp("several") / "data")).folder


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    """A series: two generators at three psi, the last of which draws no face."""
    folder = tmp_path_factory.mktemp("series")
    spaces = {}
    exec(MODEL.format(leaks=0), spaces)
    for name, start in (("training", 1000), ("holdout", 3000)):
        for person in range(start, start + 24):
            (folder / name / str(person)).mkdir(parents=True)
            picture = Image.fromarray(spaces["face"](person).astype(np.uint8))
            picture.save(folder / name / str(person) / "a.png")
    (folder / "early.py").write_text(MODEL.format(leaks=0))
    (folder / "late.py").write_text(MODEL.format(leaks=14))
    drawn = 'generator = ["early.py:draw", "late.py:draw"]\nseeds = "0-29"\npsi = [1.0, 0.5, 0.0]'
    less = '[analysis]\nliterature = "no"\nmanifold = "no"\nnear_copies = "no"\n'
    (folder / "scan.toml").write_text(SCAN.format(synthetic=drawn) + less)
    with pytest.MonkeyPatch.context() as patch:
        use(patch, GridMatcher())
        return scan(folder / "scan.toml").folder


@pytest.fixture(scope="session")
def scored(tmp_path_factory):
    """A run of a matcher that gives scores and no vectors."""
    folder = tmp_path_factory.mktemp("scored") / "data"
    scores, ids = write_sets(folder)
    names = {"training": ("synthetic", "training"), "holdout": ("synthetic", "holdout")}
    names["calibration"] = ("holdout", "holdout")
    files = {}
    for key, (probes, gallery) in names.items():
        files[key] = f"of-{key}.csv"
        write_rows(folder / files[key], rows_of(scores[key], ids[probes], ids[gallery]))
    (folder / "scan.toml").write_text(config_text(files))
    return scan(folder / "scan.toml").folder
