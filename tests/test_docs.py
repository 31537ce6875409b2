"""Every documented command and example runs."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

import lab
import lab.tasks.checks
from lab.cli import main
from lab.record.spec_file import load_yaml, read_spec
from tests import forked
from tests.own_data import table, write_folders, write_ratings, write_table, write_texts
from tests.small import ROOT, environment, write_yaml
from tests.tasks.images import fake_timm

README = ROOT / "README.md"
_NAMED = ("study", "data", "tour", "tasks", "report", "cluster", "python", "cost", "wandb")
DOCUMENTS = (README, *(ROOT / "docs" / f"{name}.md" for name in _NAMED))
"""In the order in which their commands run, one after the other."""


def blocks(language: str, *documents: Path) -> list[str]:
    """What stands in these documents in a language; in all of them where none is named."""
    texts = [document.read_text() for document in documents or DOCUMENTS]
    shown = (re.findall(rf"^ *```{language}\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE) for text in texts)
    return [textwrap.dedent(block) for of_document in shown for block in of_document]


def run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return forked.run(arguments, environment(), cwd)


def test_the_study_shown_is_the_study_shipped() -> None:
    shown = load_yaml(blocks("yaml", README)[0], "README")
    shipped = load_yaml((ROOT / "studies/digits.yaml").read_text(), "digits")
    assert shown == shipped


def test_every_shipped_spec_is_valid() -> None:
    specs = sorted((ROOT / "studies").glob("*.yaml"))
    assert len(specs) >= 3
    for path in specs:
        read_spec(path)


def test_the_shipped_specs_take_sixty_rows_or_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {
        "table": write_table(tmp_path / "t.csv", table()),
        "images": write_folders(tmp_path / "x", each=30),
        "ratings": write_ratings(tmp_path / "r.csv"),
        "text": write_texts(tmp_path / "texts.csv"),
    }
    for name, path in data.items():
        command = ["lab", "study", "check", str(ROOT / f"studies/{name}.yaml"), "--set", f"task.path={path}"]
        command += ["--set", "task.target=answer"] if name == "table" else []
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (None, 0), capsys.readouterr().err


def write_data(folder: Path) -> None:
    """The files that the commands shown are about: digits and rows to predict, a table of sales, photos, texts."""
    np.savez(folder / "digits.npz", x=load_digits().images[:3])
    random = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=100).strftime("%Y-%m-%d")
    sales = pd.DataFrame({"day": days, "price": random.uniform(1, 9, 100), "shop": random.choice(["a", "b", "c"], 100)})
    sales["units"] = 40 - 3 * sales["price"] + 5 * (sales["shop"] == "b") + random.normal(0, 1, 100)
    sales.to_csv(folder / "sales.csv", index=False)
    sales.drop(columns="units").head(5).to_csv(folder / "new.csv", index=False)
    write_ratings(folder / "ratings.csv")
    write_texts(folder / "reviews.csv")
    pd.DataFrame({"user": ["u1", "u2"]}).to_csv(folder / "users.csv", index=False)
    for name, shade in (("cat", 60), ("dog", 180)):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(30):
            pixels = random.integers(shade - 40, shade + 40, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")


_LONGEST = {"search": {"trials": 6, "epochs": 3}, "final": {"epochs": 4, "seeds": 1}, "task": {"size": 24}}


def write_shorter_specs(folder: Path) -> None:
    """The shipped studies, shorter: commands are run to their end here, and what they search is looked at elsewhere."""
    folder.mkdir()
    for path in (ROOT / "studies").glob("*.yaml"):
        value = load_yaml(path.read_text(), path.name)
        for section, longest in _LONGEST.items():
            if isinstance(held := value.get(section), dict):
                held.update({name: min(held[name], most) for name, most in longest.items() if name in held})
        write_yaml(folder / path.name, value)


def _few_digits(return_X_y: bool = False) -> Any:  # noqa: N803 - scikit-learn's name
    """Every fifth of the digits: commands are run to their end here, and what they train is looked at elsewhere."""
    whole = load_digits()
    few = Bunch(data=whole.data[::5], target=whole.target[::5], images=whole.images[::5])
    return (few.data, few.target) if return_X_y else few


@pytest.mark.slow
def test_the_commands_run_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shorter_specs(tmp_path / "studies")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_data(tmp_path)
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in dict.fromkeys(lines) if line.startswith("lab ")]
    assert len(commands) >= 14
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sklearn.datasets.load_digits", _few_digits)
    fake_timm.install(monkeypatch)  # no test asks a network for weights
    for command in commands:
        if command[:2] == ["study", "run"] and "local" not in command:  # Ray wants a process of its own
            done = run(["-m", "lab", *command], tmp_path)
            assert done.returncode == 0, (command, done.stderr)
            continue
        monkeypatch.setattr("sys.argv", ["lab", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (None, 0), (command, capsys.readouterr().err)
    assert (tmp_path / "runs/short/report.html").is_file()
    assert (tmp_path / "runs/short/trials.csv").is_file()


def test_the_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_the_python_example_runs_as_shown(tmp_path: Path) -> None:
    task, study = (block for block in blocks("python", ROOT / "docs/tasks.md") if "Wine" in block)
    begun = next(block for block in blocks("python", README) if "Wine" in block)
    assert study.startswith(begun)
    (tmp_path / "my_task.py").write_text(task)
    (tmp_path / "study.py").write_text(study)
    done = run(["study.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tensor(" in done.stdout
    assert (tmp_path / "runs/wine/report.html").is_file()


def test_the_schedule_drives_an_optimizer_as_shown(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(next(block for block in blocks("python") if "to_torch" in block))
    done = run(["loop.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.01 / 1e5)


def test_the_page_on_python_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(blocks("python", ROOT / "docs/python.md")))
    done = run(["page.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "validation accuracy" in done.stdout


def test_the_custom_task_runs_as_a_script(tmp_path: Path) -> None:
    """But for its length: what a search finds is looked at elsewhere."""
    script = (ROOT / "studies/custom_task.py").read_text()
    long, short = "trials=32, epochs=12", "trials=8, epochs=3, final={'epochs': 5}"
    assert script.count(long) == 1
    (tmp_path / "custom_task.py").write_text(script.replace(long, short))
    done = run(["custom_task.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


_ROOMS = (lab, lab.search, lab.schedules)
_OFFERED = [getattr(room, name) for room in _ROOMS for name in room.__all__]
PUBLIC = [value for value in _OFFERED if isinstance(value, (type, FunctionType))]


@pytest.mark.parametrize("shown", PUBLIC, ids=lambda shown: shown.__name__)
def test_what_is_public_shows_an_example_that_runs(
    shown: type | FunctionType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {**vars(sys.modules[shown.__module__]), **vars(lab.schedules), "lab": lab}
    (example,) = doctest.DocTestFinder(recurse=False).find(shown, shown.__name__, globs=names)
    assert example.examples
    result = doctest.DocTestRunner().run(example)
    assert result.failed == 0, capsys.readouterr().out


def test_every_file_named_in_the_documents_exists() -> None:
    for document in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "docs/figures.md", ROOT / "docs/how-it-works.md"):
        for path in re.findall(r"\(((?:\.\./)?(?:reports|studies|docs)/[^)#]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / path).exists(), f"{document.name} names {path}"


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert len(README.read_text().splitlines()) <= 90


@pytest.mark.slow
def test_the_manual_is_built_strictly(tmp_path: Path) -> None:
    """Links and references that lead nowhere are errors."""
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("index.html")}
    assert {"index.html", "data/index.html", "reference/cli/index.html", "reference/python/index.html"} <= pages
    said = (tmp_path / "site/reference/cli/index.html").read_text()
    assert "lab study run" in said
    assert "word_dropout" in (tmp_path / "site/reference/tasks/index.html").read_text()
    assert "OneCycle" in (tmp_path / "site/reference/python/index.html").read_text()
