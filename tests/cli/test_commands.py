"""Commands beside `run`: help without torch or ray, check, doctor, task list, predict."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from lab.errors import TaskError
from lab.spec.study import parse_spec
from lab.study.estimate import estimate
from lab.study.study import Study
from lab.tasks.builtin import BUILTIN
from tests.cli.refusal import refuse
from tests.own_data import table, write_folders, write_ratings, write_table, write_texts
from tests.small import ROOT, environment, lab, small

HELP = (
    [],
    ["study"],
    ["study", "run"],
    ["study", "check"],
    ["study", "resume"],
    ["study", "status"],
    ["study", "report"],
    ["study", "list"],
    ["study", "export"],
    ["study", "prune"],
    ["study", "activations"],
    ["study", "suspects"],
    ["study", "pseudo-label"],
    ["predict"],
    ["distill"],
    ["embeddings"],
    ["task", "list"],
    ["doctor"],
)


def modules_after(*arguments: str) -> set[str]:
    """The top-level modules imported by a command that ends well."""
    code = (
        "import sys; sys.argv = ['lab', *sys.argv[1:]]\n"
        "from lab.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("command", HELP, ids=lambda c: " ".join(c) or "lab")
def test_help_imports_neither_torch_nor_ray(command: list[str]) -> None:
    loaded = modules_after(*command, "--help")
    assert not loaded & {"torch", "ray", "optuna", "sklearn", "pandas", "wandb", "plotly"}


def test_check_of_a_builtin_task_imports_neither_torch_nor_ray() -> None:
    assert not modules_after("study", "check", str(ROOT / "studies/digits.yaml")) & {"torch", "ray", "wandb"}


@pytest.mark.parametrize("kind", ["table", "images", "ratings", "text"])
def test_check_of_the_users_own_data_imports_neither_torch_nor_ray(kind: str, tmp_path: Path) -> None:
    path = {
        "table": lambda: write_table(tmp_path / "t.csv", table()),
        "images": lambda: write_folders(tmp_path / "x", each=30),
        "ratings": lambda: write_ratings(tmp_path / "r.csv"),
        "text": lambda: write_texts(tmp_path / "texts.csv"),
    }[kind]()
    settings = ["--set", f"task.path={path}", *(["--set", "task.target=answer"] if kind == "table" else [])]
    loaded = modules_after("study", "check", str(ROOT / f"studies/{kind}.yaml"), *settings)
    assert not loaded & {"torch", "ray", "wandb"}


def test_the_list_of_tasks_reads_declarations_only() -> None:
    assert not modules_after("task", "list") & {"torch", "ray", "optuna", "sklearn", "pandas", "wandb"}


def test_import_lab_is_light() -> None:
    code = "import sys, lab; print('torch' in sys.modules, 'ray' in sys.modules, 'optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_check_counts_the_trainings_and_prints_a_spec_that_runs_the_same(tmp_path: Path) -> None:
    done = lab("study", "check", ROOT / "studies/digits.yaml")
    assert done.returncode == 0
    spec, _, cost = done.stdout.partition("\n\n")
    assert "explore     64 trainings,   1728 epochs" in cost
    assert "in all     147 trainings" in cost
    (tmp_path / "again.yaml").write_text(spec)
    assert lab("study", "check", tmp_path / "again.yaml").stdout == done.stdout


def test_check_says_what_is_trained_in_models_of_its_own() -> None:
    value = small(
        space={"max_lr": {"low": 0.01, "high": 0.1}, "batch_size": {"choice": [32, 128]}}, search={"trials": 4}
    )
    lines = estimate(parse_spec(value), probe=True).lines
    assert "groups   by batch_size 32, 128: each is trained in stacked models of its own" in lines
    epochs = 4 * 3 + 8 * 3 + (17 * 4 + 2 * 3) + 3 * 3 * 4
    steps = epochs * (1077 // 32 + 1077 // 128) // 2
    assert f"{epochs:6} epochs, {steps} optimizer steps" in "\n".join(lines)
    assert "with 2 groups (2 by batch_size)" in lines[-3] or lines[-3].startswith("path sequential")
    assert lines[-1].endswith("if a step takes as long at every batch size")


def test_check_probes_a_users_task() -> None:
    done = lab("study", "check", ROOT / "studies/custom_task.yaml", "--probe")
    assert done.returncode == 0, done.stderr
    assert "milliseconds per trial and step: sequential x 1" in done.stdout
    assert "on one lane of this machine" in done.stdout
    size = 4 * (30 * 64 + 64 + 4 * 64 + 64 * 2 + 2) + 8
    assert re.search(rf"^disk     about .* kB: up to \d+ snapshots of {size / 1e3:.1f} kB each", done.stdout, re.M)


def test_doctor_says_what_is_there_and_fails_where_nothing_could_be_written() -> None:
    done = lab("doctor")
    assert done.returncode == 0
    for word in ("torch", "ray", "gpu", "W&B", "is writable"):
        assert word in done.stdout
    nowhere = lab("doctor", cwd=Path("/proc"))
    assert nowhere.returncode == 1
    assert "is not writable" in nowhere.stdout


def test_tasks_are_listed_with_their_options() -> None:
    listed = lab("task", "list").stdout
    for task in BUILTIN.values():
        assert task.summary in listed
        for name, option in task.options.declared().items():
            assert f"  {name}: {option.meaning}" in listed


@pytest.fixture
def finished(small_study: Study) -> Path:
    return small_study.record.folder


def test_who_looks_at_studies_imports_nothing_that_trains_or_fits(finished: Path) -> None:
    for command in (("list", finished.parent), ("status", finished)):
        assert not modules_after("study", *map(str, command)) & {"torch", "ray", "sklearn", "scipy", "wandb", "plotly"}


def test_predict_gives_the_reported_test_score_again(finished: Path, tmp_path: Path) -> None:
    study = Study.open(finished)
    x, y = load_digits(return_X_y=True)
    from sklearn.model_selection import train_test_split

    _, test_x, _, test_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    np.savez(tmp_path / "x.npz", x=test_x)
    pd.DataFrame(test_x).to_csv(tmp_path / "x.csv", index=False)
    reported = study.result.artefact("refit")["test"]["accuracy"]
    for name in ("x.npz", "x.csv"):
        done = lab("predict", finished, "--input", tmp_path / name)
        assert done.returncode == 0, done.stderr
        table = pd.read_csv(io.StringIO(done.stdout))
        assert (table["class"] == test_y).mean() == pytest.approx(reported)
        assert np.allclose(table.filter(like="p_").sum(axis=1), 1, atol=1e-5)


def test_predict_refuses_inputs_of_another_shape_or_kind(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "wrong.npz", x=np.zeros((3, 5)))
    np.savez(tmp_path / "many.npz", a=np.zeros(1), b=np.zeros(1))
    (tmp_path / "text.csv").write_text("a,b\n1,x\n")
    (tmp_path / "x.txt").write_text("1")
    (tmp_path / "broken.npz").write_text("no zip")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "header.csv").write_text("a,b\n")
    (tmp_path / "bare.csv").write_text("1.5,2\n3,4\n")
    hole = np.ones((4, 64))
    hole[2, 3] = np.nan
    arrays = {
        "hole": hole,
        "none": np.zeros((0, 64)),
        "scalar": np.float64(3),
        "complex": np.ones((2, 64)) * 1j,
        "words": np.array([["a"]]),
    }
    for name, array in arrays.items():
        np.savez(tmp_path / f"{name}.npz", x=array)
    cases = {
        "wrong.npz": "inputs of shape (3, 5) are not [n, 64] or [n, 8, 8]",
        "many.npz": "one named 'x' is needed",
        "text.csv": "column 'b' is not numeric",
        "x.txt": "is neither .npz nor .csv",
        "broken.npz": "cannot be read",
        "missing.npz": "is not a file",
        "empty.npz": "cannot be read",
        "header.csv": "has column names and no rows",
        "bare.csv": "its first row is numbers",
        "hole.npz": "1 of 4 rows have missing or infinite values",
        "none.npz": "inputs of shape (0, 64) are not [n, ...]",
        "scalar.npz": "inputs of shape () are not [n, ...]",
        "complex.npz": "are not real numbers",
        "words.npz": "are not real numbers",
    }
    for name, message in cases.items():
        assert message in refuse(capsys, monkeypatch, "predict", finished, "--input", tmp_path / name)


def test_what_a_task_raises_on_a_users_inputs_is_one_line(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Study.open(finished).result.ensemble

    def prepare(raw: Any) -> Any:
        raise ValueError(f"operands of {raw.shape}\ndo not fit")

    monkeypatch.setattr(ensemble._task, "prepare", prepare)
    with pytest.raises(TaskError, match=r"^Digits.prepare: ValueError: operands of \(3, 5\) do not fit$"):
        ensemble.prepare(np.zeros((3, 5)))
    np.savez(finished.parent / "y.npz", x=np.zeros((3, 5)))
    with pytest.raises(TaskError, match=r"^.*y\.npz: Digits.read: ValueError: operands of \(3, 5\) do not fit$"):
        ensemble.read(finished.parent / "y.npz")
    with pytest.raises(TaskError, match="there are no inputs to predict for"):
        ensemble.predict(np.zeros((0, 64)))


def test_python_dash_m_lab_is_the_command() -> None:
    assert lab("--version").stdout.startswith("lab ")


def test_a_weights_file_of_another_architecture_is_refused(finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "run")
    study = Study.open(tmp_path / "run")
    path = study.record.refit_folder / study.result.artefact("refit")["members"][0]["file"]
    path.write_bytes(path.read_bytes()[:-100])
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 64)))
    done = lab("predict", tmp_path / "run", "--input", tmp_path / "x.npz")
    assert done.returncode == 2
    assert "is no safetensors file, or is cut off" in done.stderr
