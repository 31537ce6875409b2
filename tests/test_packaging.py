"""The wheel: its name and version, every file that the package needs, and a command that runs from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

import lab
from lab.errors import DISTRIBUTION, install_extra
from tests.small import ROOT

pytestmark = pytest.mark.slow
MOST_BYTES = 1_500_000
"""The wheel's: twice what it has today, and less than a data set or a library of plots would take."""
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "lab", source / "lab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-c", BUILD, str(out)], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def test_it_is_named_and_numbered_as_the_package_says(wheel: zipfile.ZipFile):
    name = next(name for name in wheel.namelist() if name.endswith("dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert (metadata["Name"], metadata["Version"]) == (DISTRIBUTION, lab.__version__)
    extras = metadata.get_all("Provides-Extra") or []
    assert {"hub", "png", "cluster", "dashboard", "wandb", "wandb-report"} <= set(extras)
    assert install_extra("hub") == f"pip install '{DISTRIBUTION}[hub]'"


def test_every_file_of_the_package_is_in_it(wheel: zipfile.ZipFile):
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "lab").rglob("*") if path.is_file()}
    assert {name for name in files if "__pycache__" not in name} == {
        n for n in wheel.namelist() if n.startswith("lab/")
    }


def test_templates_and_the_mark_of_its_types_are_in_it(wheel: zipfile.ZipFile):
    """Whoever adds a kind of template names it in `pyproject.toml`, or it is missing where the package is installed."""
    files = [path.relative_to(ROOT) for path in (ROOT / "lab").rglob("templates/*") if path.is_file()]
    templates = {path.as_posix() for path in files}
    assert {"lab/report/templates/page.html.j2", "lab/tasks/templates/task.py.txt"} <= templates
    assert templates | {"lab/py.typed"} <= set(wheel.namelist())


def test_it_holds_code_and_no_data(wheel: zipfile.ZipFile):
    assert Path(str(wheel.filename)).stat().st_size < MOST_BYTES
    endings = {Path(name).suffix for name in wheel.namelist() if name.startswith("lab/")}
    assert endings == {".py", ".j2", ".txt", ".typed", ".gz"}


def test_the_command_runs_from_it(wheel: zipfile.ZipFile, tmp_path: Path):
    wheel.extractall(tmp_path)
    code = "import sys; sys.path.insert(0, sys.argv.pop()); from lab.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "task", "list", str(tmp_path)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "digits: scikit-learn's 8x8 digits" in done.stdout
