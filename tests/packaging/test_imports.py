"""What importing costs, measured in a process of its own."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import idsim

HEAVY = [
    "PIL", "dlib", "faiss", "matplotlib", "onnx", "onnxruntime", "pandas", "pyarrow", "ray", "scipy", "torch",
]  # fmt: skip
COMMAND_LINE = ["rich", "typer"]
# Made of PyTorch modules, and imported where a checkpoint is opened; and an operator of PyTorch.
NETWORKS = {f"idsim.generators.stylegan2.{name}" for name in ("layers", "network")}
NETWORKS |= {
    f"idsim.matchers.networks.{name}" for name in ("inception_resnet", "iresnet", "layers", "sphereface")
}
NETWORKS |= {"idsim.compat.torch_op"}


def loaded_by(code: str, candidates: list[str]) -> list[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps([m for m in {candidates!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def modules() -> list[str]:
    found = pkgutil.walk_packages(idsim.__path__, "idsim.")
    return [module.name for module in found if not module.name.startswith("idsim._core")]


def test_the_probe_sees_an_import():
    assert loaded_by("import pyarrow", HEAVY) == ["pyarrow"]


def test_import_idsim_costs_numpy_only():
    assert loaded_by("import idsim", [*HEAVY, *COMMAND_LINE]) == []


def test_public_names_are_not_names_of_modules():
    """A module that is imported replaces a name of the package; only `reference` is meant to be one."""
    names = {module.rpartition(".")[2] for module in modules() if module.count(".") == 1}
    assert names & set(idsim.__all__) == {"reference"}


def test_every_public_name_is_there_and_nothing_else():
    assert {name for name in idsim.__all__ if not hasattr(idsim, name)} == set()
    assert set(idsim.__all__) <= set(dir(idsim))
    with pytest.raises(AttributeError, match="module 'idsim' has no attribute 'serach'"):
        _ = idsim.serach


def test_the_package_itself_costs_its_compiled_part():
    assert loaded_by("import idsim", ["numpy"]) == []
    assert loaded_by("import idsim; idsim.search", ["numpy"]) == ["numpy"]


def test_no_module_imports_an_optional_library_at_import_time():
    names = set(modules()) - NETWORKS
    assert {"idsim.cli.main", "idsim.generators.stylegan2"} < names
    code = "import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in names)
    assert loaded_by(code, HEAVY) == []


def test_help_costs_no_more_than_the_package():
    code = (
        "import sys\nsys.argv = ['idsim', '--help']\nfrom idsim.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as stop:\n    assert stop.code == 0"
    )
    assert loaded_by(code, [*HEAVY, "idsim.gallery", "idsim.index", "idsim.benchmark"]) == []


def test_the_package_is_typed_and_installed():
    package = Path(idsim.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


@pytest.mark.parametrize("name", modules())
def test_every_module_says_what_it_is(name):
    module = __import__(name, fromlist=["__doc__"])
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
