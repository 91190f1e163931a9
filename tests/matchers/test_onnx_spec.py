"""Specifications inside ONNX files, written and read: checked like a file."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from idsim.cli.matcher import app
from idsim.errors import MatcherError
from idsim.matchers import find_spec, open_embedder
from idsim.matchers.catalogue import catalogue_file
from idsim.matchers.onnx_spec import KEY, spec_inside, text_inside, write_spec_into
from support.onnx_networks import crops_of, projection, save

TEXT = catalogue_file("magface").read_text()
CROPS = crops_of((112, 112), 3)


def with_metadata(folder, *texts):
    model = projection()
    for text in texts:
        model.metadata_props.add(key=KEY, value=text)
    return save(folder, model)


def test_a_file_that_carries_its_specification_needs_no_other(tmp_path):
    plain = save(tmp_path, projection(), "plain.onnx")
    carrying = tmp_path / "carrying.onnx"
    write_spec_into(plain, catalogue_file("magface"), carrying)
    expected = open_embedder("magface", model=plain).embed(CROPS)
    embedder = open_embedder(str(carrying))
    assert (embedder.name, embedder.embed(CROPS).tobytes()) == ("magface", expected.tobytes())
    assert find_spec("carrying.onnx", base=tmp_path).input.color == "BGR"
    assert text_inside(carrying) == TEXT
    assert text_inside(plain) is None
    shown = CliRunner().invoke(app, ["show", str(carrying), "--toml"])
    assert (shown.exit_code, shown.output) == (0, TEXT)
    with pytest.raises(FileExistsError):
        write_spec_into(plain, catalogue_file("magface"), carrying)


def test_one_specification_takes_the_place_of_another(tmp_path):
    first = with_metadata(tmp_path, TEXT)
    write_spec_into(first, catalogue_file("auraface"), tmp_path / "second.onnx")
    assert spec_inside(tmp_path / "second.onnx").name == "auraface"
    # One beside the file is the user's own word, and goes before.
    (tmp_path / "second.toml").write_text(TEXT)
    assert find_spec(str(tmp_path / "second.onnx")).name == "magface"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["name = "], "text: not the TOML"),
        (["", TEXT], r"idsim\.spec: is there 2 times"),
        ([TEXT.replace('"BGR"', '"GRB"')], r"input\.color: must be"),
        ([TEXT + "#" * (1 << 16)], "at most 65536 are read"),
        ([f'sha256 = "{"0" * 64}"\n{TEXT}'], "sha256: must be left out"),
        ([f'file = "other.onnx"\n{TEXT}'], "file: must be left out"),
        ([TEXT.replace("color", "colour")], "color"),
    ],
)
def test_what_stands_inside_is_checked_like_a_file(tmp_path, texts, says):
    path = with_metadata(tmp_path, *texts)
    with pytest.raises(MatcherError, match=says) as error:
        open_embedder(str(path))
    assert error.value.path == str(path)


def test_what_cannot_be_written(tmp_path):
    plain = save(tmp_path, projection())
    output = tmp_path / "new.onnx"
    for name, says in (("sface", "sha256: must be left out"), ("nothing", "nothing")):
        spec = tmp_path / "nothing.toml" if name == "nothing" else catalogue_file(name)
        with pytest.raises(MatcherError, match=says):
            write_spec_into(plain, spec, output)
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(MatcherError, match="it is no ONNX model"):
        write_spec_into(tmp_path / "no.onnx", catalogue_file("magface"), output)
    (tmp_path / "link.onnx").symlink_to(plain)
    with pytest.raises(MatcherError, match="symbolic link"):
        write_spec_into(tmp_path / "link.onnx", catalogue_file("magface"), output)
    assert not output.exists()


def test_tensors_outside_stay_where_they_are(tmp_path):
    model = projection()
    tensor = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    expected = open_embedder("magface", model=save(tmp_path, model)).embed(CROPS)
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "spec.toml").write_text("external_data = true\n" + TEXT)
    write_spec_into(save(tmp_path, model), tmp_path / "spec.toml", tmp_path / "new.onnx")
    assert np.array_equal(open_embedder(str(tmp_path / "new.onnx")).embed(CROPS), expected)
