"""Bad input: one line that names the place, the value and what is allowed; exit code 2; nothing half-written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.record.folder import Record
from tests.cli.refusal import refuse
from tests.small import SMALL, lab, small, write_yaml

RUNNER = CliRunner()


BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"serch": {"trials": 3}}, "serch: is unknown (did you mean 'search'?); allowed: name, seed"),
    ({"search": {"trails": 3}}, "search.trails: is unknown (did you mean 'trials'?)"),
    ({"search": {"trials": 0}}, "search.trials: 0: input should be greater than or equal to 1"),
    (
        {"search": {"concurrency": 13}},
        "search.concurrency: 13 is above search.trials 12",
    ),
    ({"search": {"concurrency": 0}}, "search.concurrency: 0: input should be greater than or equal to 1"),
    ({"search": {"concurrency": 2.5}}, "search.concurrency: 2.5: input should be a valid integer"),
    ({"search": {"concurrency": "all"}}, "search.concurrency: 'all': input should be a valid integer"),
    ({"search": {"trials": "many"}}, "search.trials: 'many': input should be a valid integer"),
    (
        {"search": {"sampler": {"kind": "forrest"}}},
        "search.sampler.kind: 'forrest' is unknown (did you mean 'forest'?)",
    ),
    (
        {"search": {"pruner": {"kind": "asha"}}},
        "search.pruner.kind: 'asha' is unknown; choices: none, forest, optuna:CLASS",
    ),
    (
        {"search": {"pruner": {"kind": "forest", "first": 99}}},
        "search.pruner: ForestPruner: first 99 is above",
    ),
    ({"search": {"sampler": {"kind": "forest", "start": 1}}}, "search.sampler.start: is unknown"),
    (
        {"task": {"kind": "digit"}},
        "task.kind: 'digit' is unknown (did you mean 'digits'?); "
        "choices: digits, table, images, ratings, text, language_model, FILE.py:NAME",
    ),
    ({"task": {"kind": "digits", "modl": "mlp"}}, "task.modl: is unknown (did you mean 'model'?)"),
    ({"task": "nowhere.py:Task"}, "nowhere.py does not exist"),
    ({"space": {"max_lr": {"low": 1.0, "high": 0.1}}}, "space.max_lr: low 1.0 is above high 0.1"),
    ({"space": {"max_lr": {"low": 0.0, "high": 0.1, "log": True}}}, "space.max_lr.low: 0.0 is not above 0"),
    ({"space": {"max_lr": {"low": "a", "high": 0.1}}}, "space.max_lr.low: 'a' is not a finite number"),
    ({"space": {"max_lr": {"lo": 1, "high": 2}}}, "space.max_lr: keys ['high', 'lo'] are not one of"),
    ({"space": {"dropout": {"low": 0.0, "high": 0.5}}}, "space.max_lr: is missing"),
    ({"space": {"max_lr": {"from": "bounds"}, "cycles": {"choice": [0, 1]}}}, "space.cycles: 0 is not at least 1"),
    ({"space": {"max_lr": {"from": "bounds"}, "cycles": {"choice": [1, 9]}}}, "9 cycles do not fit into 3 epochs"),
    ({"space": {}}, "space: is empty"),
    (
        {"schedule": {"one": {"kind": "two_cycle"}}},
        "schedule.one.kind: 'two_cycle' is unknown (did you mean 'one_cycle'?)",
    ),
    ({"optimizer": {"kind": "adam"}}, "optimizer.kind: 'adam' is unknown"),
    ({"optimizer": {"eps": 0}}, "optimizer.eps: 0 is not a number above 0"),
    ({"space": {**SMALL["space"], "beta2": {"low": 0.9, "high": 1.5}}}, "space.beta2: 1.5 is not a number in [0, 1)"),
    ({"space": {**SMALL["space"], "optimizer": {"choice": ["lion"]}}}, "space.optimizer: 'lion' is unknown; choices:"),
    ({"final": {"epochs": 2, "snapshots": 5}}, "final.snapshots: 5 is above final.epochs 2"),
    ({"bounds": {"start": 1.0, "end": 0.1}}, "bounds.end: 0.1 is not above start 1.0"),
    ({"name": "a/b"}, "name: 'a/b': string should match pattern"),
    ({"seed": 2**40}, "seed: 1099511627776: input should be less than 4294967296"),
    ({"execution": {"device": "tpu9"}}, "execution.device: 'tpu9': string should match pattern"),
    ({"execution": {"threads": 100_000}}, "execution.threads: 100000: input should be less than or equal to 512, or"),
    ({"seed": -1}, "seed: -1: input should be greater than or equal to 0"),
    ({"storage": "auto"}, "storage: this is no kind of database; a URL is needed, such as postgresql://USER@HOST/NAME"),
    ({"storage": "postgres+no://h/d"}, "storage: 'postgres+no' is no kind of database; a URL is needed"),
    ({"task": {"kind": "digits", "model": "foo"}}, "task.model: 'foo' is unknown; choices: mlp, cnn"),
    ({"task": {"kind": "digits", "split_seed": 2**32}}, "task.split_seed: 4294967296 is not a whole number from 0 to"),
    ({"execution": {"engine": "slurm"}}, "execution.engine: 'slurm': input should be 'auto', 'ray' or 'local'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_SPECS, ids=[m[:50] for _, m in BAD_SPECS])
def test_a_bad_spec_is_refused_before_anything_is_written(
    change: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = write_yaml(tmp_path / "study.yaml", small(**change))
    line = refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")
    assert message in line
    assert not (tmp_path / "run").exists()
    assert refuse(capsys, monkeypatch, "study", "check", spec) == line


def test_spec_files_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "broken.yaml").write_text("name: a\nspace: {max_lr: [\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    cases = {
        "missing.yaml": "does not exist",
        "empty.yaml": "is empty",
        "broken.yaml": "broken YAML: line 3, column 1",
        "list.yaml": "not a mapping",
        ".": "is a directory, not a spec file",
    }
    for name, message in cases.items():
        assert message in refuse(capsys, monkeypatch, "study", "run", tmp_path / name, "--dir", tmp_path / "run")
        assert message in refuse(capsys, monkeypatch, "study", "check", tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_bad_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_yaml(tmp_path / "study.yaml", small())
    run = ("study", "run", spec, "--dir", tmp_path / "run")
    assert "'slurm' is unknown; choices: auto, ray, local" in refuse(capsys, monkeypatch, *run, "--engine", "slurm")
    assert "'wide' is neither 'auto' nor" in refuse(capsys, monkeypatch, *run, "--width", "wide")
    assert "'trials' is not of the form key=value" in refuse(capsys, monkeypatch, *run, "--set", "trials")
    assert "search.trials: 0" in refuse(capsys, monkeypatch, *run, "--set", "search.trials=0")
    assert "'tensorboard' is unknown; choices: wandb" in refuse(capsys, monkeypatch, *run, "--track", "tensorboard")
    some = refuse(capsys, monkeypatch, *run, "--track", "wandb", "--track-trials", "some")
    assert "--track-trials: 'some' is unknown; choices: best, all, none" in some
    assert "'explor' is unknown" in refuse(capsys, monkeypatch, *run, "--until", "explor")
    assert not (tmp_path / "run").exists()


def test_a_spec_that_failed_before_anything_was_trained_may_be_put_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = write_yaml(tmp_path / "study.yaml", small(batch_size=100_000))
    run = ("study", "run", wrong, "--dir", tmp_path / "run", "--until", "bounds")
    assert "batch_size 100000 is above the 1077 training examples" in refuse(capsys, monkeypatch, *run)
    write_yaml(wrong, small())
    assert lab(*run).returncode == 0


TASKS = {
    "syntax": ("def f(:\n", "task.py:1: SyntaxError"),
    "import": ("import lab\n\nimport nowhere_to_be_found\n", "task.py:3: ModuleNotFoundError: No module named"),
    "name": ("Other = 1\n", "has no 'Task'"),
    "kind": ("Task = 1\n", "is neither a subclass of lab.Task nor made by @lab.trial_function"),
    "abstract": ("import lab\nclass Task(lab.Task):\n    pass\n", "lacks data, model"),
    "constructor": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n    def __init__(self):\n        1 / 0\n",
        "task.py:4: ZeroDivisionError",
    ),
    "reduced": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n"
        "    def loss(self, output, target):\n        return super().loss(output, target).mean()\n",
        "Task.loss: must give one value per example, shape (4,); got ()",
    ),
    "nan": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n    def data(self, split):\n"
        "        x, y = super().data(split)\n        x = x.clone()\n"
        "        x[3, 5] = float('nan')\n        return x, y\n",
        "Task.data('train'): NaN or infinity in the inputs (1 of 1077 examples)",
    ),
    "lengths": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n    def data(self, split):\n"
        "        x, y = super().data(split)\n        return x, y[:-1]\n",
        "Task.data('train'): 1077 inputs but 1076 targets",
    ),
    "float targets": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n    def data(self, split):\n"
        "        x, y = super().data(split)\n        return x, y.float()\n",
        "Task.",
    ),
    "one class": (
        "from lab.tasks.digits import Digits\nclass Task(Digits):\n    def data(self, split):\n"
        "        x, y = super().data(split)\n        return x, y * 0\n",
        "Task.data('train'): has one class only (0)",
    ),
}


@pytest.mark.parametrize("case", TASKS)
def test_a_task_that_breaks_its_contract_is_named_with_its_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = TASKS[case]
    (tmp_path / "task.py").write_text(code)
    value = small(execution={"width": "auto", "path": "auto"})
    value["task"] = "task.py:Task"
    spec = write_yaml(tmp_path / "study.yaml", value)
    assert message in refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")
    assert message in refuse(capsys, monkeypatch, "study", "check", spec, "--probe")


def test_an_optimizer_that_cannot_be_is_refused_for_a_users_task_too_and_a_trial_function_names_what_it_likes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "task.py").write_text(
        "import lab\nfrom lab.tasks.digits import Digits as Task\n"
        "@lab.trial_function(metric='m', direction='maximize')\n"
        "def train(trial):\n"
        "    for _ in range(trial.epochs):\n"
        "        yield {'m': trial.params['eps']}\n"
    )
    space = {"max_lr": {"low": 0.01, "high": 0.1}, "eps": {"low": 0.0, "high": 1.0}, "optimizer": {"choice": ["lion"]}}
    spec = write_yaml(tmp_path / "task.yaml", small(space=space) | {"task": "task.py:Task"})
    line = refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")
    assert line.startswith("space.optimizer: 'lion' is unknown")
    assert not (tmp_path / "run").exists()
    spec = write_yaml(tmp_path / "function.yaml", small(space=space) | {"task": "task.py:train"})
    ran = lab("study", "run", spec, "--dir", tmp_path / "run", "--until", "explore", "--set", "execution.path=function")
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def refused_with_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """The line that a small study of digits ends with, by the body of its task's `loss` and what its spec says."""

    def refused(body: str, **said: Any) -> str:
        lines = "".join(f"        {line}\n" for line in body.splitlines())
        (tmp_path / "task.py").write_text(
            "from lab.tasks.digits import Digits\nclass Task(Digits):\n    calls = 0\n"
            f"    def loss(self, output, target):\n{lines}"
        )
        spec = write_yaml(tmp_path / "s.yaml", small(**said) | {"task": "task.py:Task"})
        return refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run")

    return refused


_HIGH_RATES = {"max_lr": {"low": 0.1, "high": 1.0}}


def test_every_trial_diverging_ends_the_study_with_what_to_try(refused_with_loss: Callable[..., str]) -> None:
    line = refused_with_loss("return super().loss(output, target) * float('inf')", space=_HIGH_RATES)
    assert "explore: of 12 trials: no trial completed (12 diverged" in line
    assert "lower the upper end of space.max_lr" in line


def test_no_advice_on_rates_is_given_where_none_was_too_high(refused_with_loss: Callable[..., str]) -> None:
    line = refused_with_loss(
        "Task.calls += output.requires_grad\n"
        "if Task.calls > 30:\n    raise ValueError('boom')\n"
        "return super().loss(output, target)",
        space=_HIGH_RATES,
    )
    assert "boom" in line
    assert "max_lr" not in line


def test_a_range_test_that_says_nothing_asks_for_a_range(refused_with_loss: Callable[..., str]) -> None:
    line = refused_with_loss("return super().loss(output, target) * 0 + 1")
    assert "the loss never falls by more than 5 %" in line
    assert "give space.max_lr a range" in line


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explored")
    spec = write_yaml(folder / "study.yaml", small(search={"trials": 4, "epochs": 2}))
    done = lab("study", "run", spec, "--dir", folder / "run", "--until", "explore")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_folder_that_holds_something_else(
    explored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_yaml(tmp_path / "other.yaml", small(seed=5))
    line = refuse(capsys, monkeypatch, "study", "run", other, "--dir", explored / "run")
    assert "holds another study ('small'): seed is 0 there and 5 here, and 2 more; choose another --dir" in line
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    assert "is not empty and holds no study" in refuse(
        capsys, monkeypatch, "study", "run", other, "--dir", tmp_path / "thesis"
    )
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"
    for command in ("resume", "status", "report", "export"):
        assert "holds no study" in refuse(capsys, monkeypatch, "study", command, tmp_path / "thesis")
        assert "is not a folder" in refuse(capsys, monkeypatch, "study", command, tmp_path / "nowhere")


def test_a_folder_that_cannot_be_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_yaml(tmp_path / "study.yaml", small())
    line = refuse(capsys, monkeypatch, "study", "run", spec, "--dir", spec / "x")
    assert f"{spec}/x: cannot be written to (Not a directory)" in line


def test_a_journal_that_is_foreign_or_damaged(
    explored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(explored / "run", tmp_path / "run")
    journal = Record(tmp_path / "run").journal_path
    content = journal.read_bytes()
    for damaged in (b"not a journal\n" + content, content[:400] + b"\x00\x00" + content[402:], b"PK\x03\x04 a zip"):
        journal.write_bytes(damaged)
        line = refuse(capsys, monkeypatch, "study", "resume", tmp_path / "run")
        assert "ledger.journal" in line
        assert journal.read_bytes() == damaged
    journal.write_bytes(content[:-30])
    assert lab("study", "resume", tmp_path / "run", "--until", "explore").returncode == 0


def test_a_disk_that_fills_up_is_one_line_and_the_study_goes_on_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    real, calls = os.fsync, {"left": 12}

    def full(handle: int) -> None:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    spec = write_yaml(tmp_path / "study.yaml", small(search={"trials": 4, "epochs": 2}))
    monkeypatch.setattr(os, "fsync", full)
    line = refuse(capsys, monkeypatch, "study", "run", spec, "--dir", tmp_path / "run", "--until", "explore")
    assert "No space left on device" in line
    assert "make room, then resume" in line
    monkeypatch.setattr(os, "fsync", real)
    assert lab("study", "resume", tmp_path / "run", "--until", "explore").returncode == 0


def test_two_drivers_on_one_folder(
    explored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Record(explored / "run").driver_lock():
        assert "in use by lab study, process" in refuse(capsys, monkeypatch, "study", "resume", explored / "run")


def test_tracking_without_wandb_or_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_yaml(tmp_path / "study.yaml", small())
    run = ("study", "run", spec, "--dir", tmp_path / "run", "--track", "wandb")
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    assert "W&B has no key" in refuse(capsys, monkeypatch, *run)
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    assert "wandb is not installed" in refuse(capsys, monkeypatch, *run)
    assert not (tmp_path / "run").exists()


def test_predict_refuses_what_it_cannot_read(
    explored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "has no ensemble yet" in refuse(
        capsys, monkeypatch, "predict", explored / "run", "--input", tmp_path / "x.npz"
    )


def test_the_root_prints_its_version() -> None:
    result = RUNNER.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout.startswith("lab ")
