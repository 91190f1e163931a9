"""Mistakes of a new user: one sentence that names the thing, says what was expected and what to do; no traceback."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from idsim.cli import main

ROWS = np.random.default_rng(0).standard_normal((20, 8), dtype=np.float32)
FUNCTION = """
def embed(crops):
    {body}

embed.spec = {{
    "name": "own", "licence": "CC0", "input": {{"size": [8, 8]}}, "align": {{"mode": "none"}},
    "output": {{"dim": 3, "normalise": True}}, "score": {{"metric": "cosine"}},
}}
"""
SCAN = """
schema = 1
[run]
name = "first"
[synthetic]
embeddings = "a.npy"
[training]
embeddings = "b.npy"
[holdout]
embeddings = "c.npy"
[matcher]
kind = "embeddings"
name = "own"
metric = "cosine"
licence = "CC0"
"""


@pytest.fixture
def idsim(tmp_path, monkeypatch, capsys):
    """Run the command line in a folder with some files, and return exit status and standard error."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.npy", "b.npy", "c.npy"):
        np.save(name, ROWS)
    np.save("narrow.npy", ROWS[:, :4])
    bad = ROWS.copy()
    bad[5, 3] = np.nan
    np.save("nan.npy", bad)
    np.savez("many.npz", left=ROWS, right=ROWS)
    for name, text in {
        "empty.npy": "", "vectors.csv": "1,2\n", "scan.toml": SCAN, "broken.toml": "[run\n",
        "typo.toml": SCAN.replace("[holdout]", "[holdot]"), "nameless.toml": SCAN.replace('name = "first"\n', ""),
        "slash.toml": SCAN.replace('"first"', '"a/b"'), "words.txt": "x", "taken.csv": "",
        "raises.py": FUNCTION.format(body="return 1 / 0"), "syntax.py": "def embed(:\n",
        "imports.py": "import nothing_of_this_name\n", "zeros.py": FUNCTION.format(body="return None"),
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    _pictures(tmp_path / "pictures")

    def run(line):
        monkeypatch.setattr(sys, "argv", ["idsim", *line.split()])
        with pytest.raises(SystemExit) as stop:
            main.run()
        return stop.value.code, " ".join(capsys.readouterr().err.replace("│", " ").split())

    return run


def _pictures(folder):
    from PIL import Image

    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("search a.npi b.npy", "a.npi: file: No such file or directory (did you mean a.npy?)"),
        ("search gone/a.npy b.npy", "(there is no folder gone)"),
        ("search nothing.npy b.npy", "nothing.npy: file: No such file or directory"),
        ("search empty.npy b.npy", "empty.npy: byte 0: the file is empty"),
        ("search a.npy vectors.csv", "write its vectors as .npy or Parquet"),
        ("search a.npy empty", "there is no .npy or .parquet file in it"),
        ("search narrow.npy b.npy", "gallery must have 4 columns like queries, not 8"),
        ("search a.npy nan.npy", "nan.npy: row 5 holds NaN or Inf; --nonfinite skip leaves such rows out"),
        ("search nan.npy a.npy", "nan.npy: row 5 holds NaN or Inf"),
        ("search many.npz b.npy", "there are 2 matrices of floats, name one with key: left, right"),
        ("search many.npz b.npy --query-key middle", "named 'middle'; there are: left, right"),
        ("search a.npy b.npy -o hits.xlsx", "hits.xlsx must end in one of .parquet, .csv, .jsonl"),
        ("search a.npy b.npy -o taken.csv", "taken.csv exists already, and nothing is ever overwritten"),
        ("search a.npy b.npy -o gone/hits.csv", "gone/hits.csv cannot be written: there is no folder gone"),
        ("search a.npy b.npy --metric cosin", "'cosin' is not one of 'cosine', 'dot', 'l2'"),
        ("search a.npy b.npy --treshold 0.3", "No such option: --treshold (Possible options: --threads, --threshold)"),
        ("search a.npy b.npy --device gpu", "device must be 'cpu', 'cuda', 'cuda:N'"),
        ("search a.npy b.npy --exclude-groups", "a.npy has no groups, which --exclude-groups needs"),
        ("search a.npy", "Missing argument 'GALLERY'"),
        ("serach a.npy b.npy", "No such command 'serach'. Did you mean 'search'?"),
        ("gallery build a.npy -o gone/faces", "gone/faces cannot be made: there is no folder gone"),
        ("gallery build a.npy -o faces --id file", "a.npy: columns: there are none: 'file' would stand in a.parquet"),
        ("gallery build nan.npy -o faces", "--keep-nonfinite stores such rows"),
        ("gallery build a.npy -o empty", "empty exists already, and nothing is ever overwritten"),
        ("gallery build a.npy -o faces -m colour", "Invalid value for --metadata: 'colour' is not NAME=VALUE"),
        ("gallery info a.npy", "a.npy: gallery: it is not a folder"),
        ("gallery info texts", "the folder has no manifest, so it is not a gallery"),
        ("scan scan.tml", "scan.tml: No such file or directory (did you mean scan.toml?)"),
        ("scan broken.toml", "broken.toml is not valid TOML: Expected ']' at the end of a table declaration"),
        ("scan a.npy", "a.npy is no text, and so no TOML: this is no scan configuration"),
        ("scan pictures", "pictures is a folder: a TOML file is expected (scan configuration)"),
        ("scan typo.toml", "typo.toml: [holdot] is not known (did you mean holdout?)"),
        ("scan nameless.toml", 'nameless.toml: [run] name must name the run: one folder name, without slashes: na'),
        ("scan slash.toml", "one folder name, without slashes, not 'a/b'"),
        ("scan scan.toml --shard 9/8", "a shard must be given like 3/8, the third of eight, not '9/8'"),
        ("status pictures", "pictures is no run of a scan that has started"),
        ("gate pictures --policy scan.toml", "scan.toml: [run] is not known: known are gate"),
        ("gate pictures", "Missing option '--policy'"),
        ("embed texts -m zeros.py:embed --align none -o out", "there is no JPEG, PNG or WebP file in texts"),
        ("embed a.npy -m zeros.py:embed -o out", "a.npy is no source of pictures: a folder, or one of .zip"),
        ("embed pictures -m arcface-w600k-r5 -o out", "did you mean arcface-w600k-r50 or"),
        ("embed pictures -m arcface-w600k-r50 -o out", "needs a model file: none comes with this package"),
        ("embed pictures -m arcface-w600k-r50 -o out", "Name it with --model"),
        ("embed pictures -m zeros.py:embd -o out", "zeros.py has no function embd"),
        ("embed pictures -m gone.py:embed -o out", "there is no file gone.py"),
        ("embed pictures -m raises.py:embed -o out", "raises.py, line 3, in embed: ZeroDivisionError: division"),
        ("embed pictures -m syntax.py:embed -o out", "syntax.py, line 1: SyntaxError: invalid syntax"),
        ("embed pictures -m imports.py:embed -o out", "imports.py, line 1, in <module>: ModuleNotFoundError"),
        ("matcher check zeros.py:embed pictures --align none", "a folder with a folder of pictures for each person"),
        ("sample zeros.py:embed -o out", "needs seeds, like 0-9999"),
        ("sample zeros.py:embed --seeds 9-0 -o out", "seeds 9-0 run backwards: write 0-9"),
        ("bench --queries few", "Invalid value for --queries: 'few' is not a list of whole numbers such as 1,32,1024"),
        ("selftest --pairs many", "Invalid value for --pairs: 'many' is not a number such as 1e9"),
        ("calibrate a.npy -o out --labels each --fmr 2", "--fmr must be above 0 and below 1, not 2"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_that_helps(idsim, monkeypatch, line, says):
    monkeypatch.setenv("COLUMNS", "200")
    # It would start this very process again, in another environment.
    monkeypatch.setattr("idsim.benchmark.environment.start_again_if_held", lambda: None)
    code, message = idsim(line)
    assert says in message
    assert code == 2
    assert "Traceback" not in message


def test_a_gpu_that_a_function_cannot_promise_is_a_missing_capability(idsim):
    code, message = idsim("embed pictures -m zeros.py:embed --align none --require-gpu -o out")
    assert (code, message) == (
        5,
        "idsim: a GPU is required, and where zeros.py:embed runs is not known: it is a function",
    )


def test_the_traceback_of_own_code_is_shown_on_demand(idsim):
    code, message = idsim("--traceback embed pictures -m raises.py:embed -o out")
    assert code == 2
    assert "Traceback" in message
    assert message.endswith("ZeroDivisionError: division by zero (idsim --traceback shows the way there)")


def test_an_error_of_idsim_itself_is_not_blamed_on_the_user(idsim, monkeypatch):
    monkeypatch.setattr("idsim.cli.doctor.examine", lambda folder: 1 / 0)
    assert idsim("doctor")[0] == 70
