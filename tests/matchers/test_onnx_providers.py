"""ONNX matchers: where they run, what is said of a GPU that is not there, and what the description names."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

import onnx
import onnxruntime
import pytest

from idsim.errors import CudaError
from idsim.matchers.catalogue import catalogue_spec, known_hashes
from idsim.matchers.onnx import OnnxEmbedder
from idsim.matchers.options import RunOptions
from support.onnx_networks import crops_of, projection, save

ARC = replace(catalogue_spec("arcface-w600k-r50"), sha256="")

no_gpu = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has a GPU"
)


@no_gpu
@pytest.mark.parametrize(
    "options", [RunOptions("cuda"), RunOptions("cuda:1"), RunOptions("auto", require_gpu=True)]
)
def test_a_gpu_that_is_asked_for_and_missing_is_an_error(tmp_path, options):
    with pytest.raises(CudaError, match="offers only .*CPUExecutionProvider"):
        OnnxEmbedder(ARC, save(tmp_path, projection()), options)


@no_gpu
def test_auto_runs_on_the_cpu_and_says_so(tmp_path):
    description = OnnxEmbedder(ARC, save(tmp_path, projection()), RunOptions("auto")).describe()
    assert description["provider"] == "CPUExecutionProvider"


def test_a_provider_that_does_not_start_is_never_replaced_in_silence(tmp_path, monkeypatch, caplog):
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    real = onnxruntime.InferenceSession

    def on_cpu(data, options, providers):
        # What ONNX Runtime does where libraries of CUDA are missing.
        assert providers[0][0] == "CUDAExecutionProvider"
        return real(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    path = save(tmp_path, projection())
    for options in (RunOptions("cuda"), RunOptions("auto", require_gpu=True)):
        with pytest.raises(CudaError, match="could not start CUDAExecutionProvider"):
            OnnxEmbedder(ARC, path, options)
    with caplog.at_level(logging.WARNING, "idsim"):
        embedder = OnnxEmbedder(ARC, path, RunOptions("auto"))
    assert "no GPU can be used" in caplog.text
    assert embedder.describe()["provider"] == "CPUExecutionProvider"
    assert embedder.embed(crops_of((112, 112), 2)).shape == (2, 512)


@pytest.mark.parametrize(
    "arguments", [{"device": "gpu"}, {"device": "cuda:"}, {"require_gpu": True}, {"batch": -1}]
)
def test_options_that_mean_nothing(arguments):
    with pytest.raises(ValueError, match=r"device|batch"):
        RunOptions(**arguments)


def test_the_description_names_everything(tmp_path):
    path = save(tmp_path, projection())
    embedder = OnnxEmbedder(ARC, path)
    description = embedder.describe()
    assert description["files"] == {"model.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert description["library"] == f"onnxruntime {onnxruntime.__version__}"
    assert description["input"]["color"] == "RGB"
    assert (description["metric"], description["dim"], description["licence"]) == ("cosine", 512, ARC.licence)
    assert not set(description["files"].values()) & known_hashes()
    onnx.checker.check_model(onnx.load(path))
