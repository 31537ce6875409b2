"""The benchmark of what a study hands over: its plain loops train as lab does, and it reads and sums up rightly."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

from lab.schedules import OneCycle
from lab.spec.space import Choice, Float, Space
from lab.study.study import Study
from lab.tasks.digits import Digits
from lab.training.ensemble import scores
from tests import forked
from tests.small import ROOT, environment, small_spec

PARAMS = {"max_lr": 0.01, "weight_decay": 0.01, "dropout": 0.1}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    import outcome
    import outcome_no_hero
    import outcome_rows
    import outcome_summary
    import outcome_tasks
    import outcome_tutorial

    return SimpleNamespace(
        cli=outcome,
        no_hero=outcome_no_hero,
        rows=outcome_rows,
        summary=outcome_summary,
        tasks=outcome_tasks,
        tutorial=outcome_tutorial,
    )


# -- what is read of a study -----------------------------------------------------------------------------------------

ENSEMBLE = {"chosen": {"test": {"accuracy": 0.9, "nll": 0.3}, "epochs": 30}}


@pytest.mark.parametrize("refit", [None, {"skipped": "not asked for"}, {"skipped": None, "test": {}}])
def test_without_a_refit_the_chosen_ensemble_is_handed_over(bench: SimpleNamespace, refit: dict[str, Any] | None):
    (row,) = bench.rows.handed_over(ENSEMBLE, refit, 100.0, 0.0)
    assert (row.name, row.test, row.epochs, row.own_epochs) == ("delivered", ENSEMBLE["chosen"]["test"], 100.0, 30.0)


@pytest.mark.parametrize("value", [0.95, {"mean": 0.95, "std": None}])
def test_a_refit_is_handed_over_and_the_ensemble_stands_beside_it(bench: SimpleNamespace, value: object):
    rows = bench.rows.handed_over(ENSEMBLE, {"test": {"accuracy": value, "nll": None}}, 100.0, 20.0)
    assert [row.name for row in rows] == ["delivered", "chosen, train only"]
    assert (rows[0].test, rows[0].epochs) == ({"accuracy": 0.95}, 120.0)
    assert (rows[1].test, rows[1].epochs) == (ENSEMBLE["chosen"]["test"], 100.0)


def test_the_loss_is_a_likelihood_or_a_squared_error(bench: SimpleNamespace):
    assert bench.rows.loss_of({"accuracy": 0.9, "nll": 0.3}) == 0.3
    assert bench.rows.loss_of({"rmse": 3.0}) == 9.0
    assert bench.rows.loss_of({"mae": 3.0}) is None


# -- what is trained beside it ---------------------------------------------------------------------------------------


def _labs_own(model: torch.nn.Module, params: Mapping[str, Any], steps: int) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.95, 0.99), eps=1e-5)
    schedule = OneCycle(max_lr=params["max_lr"], weight_decay=params["weight_decay"])
    return optimizer, schedule.to_torch(optimizer, total=steps)


def test_the_plain_loop_and_labs_lanes_agree_within_noise(bench: SimpleNamespace):
    spec, task, seeds = small_spec(final={"epochs": 5}), Digits(), 8
    x, y = task.data("test")
    (by_lab,) = bench.no_hero.outputs(spec, task, PARAMS, seeds, (x,))
    plain = []
    for seed in range(seeds):
        *_, model = bench.tutorial.train(task, PARAMS, seed, spec.final.epochs, spec.batch_size, _labs_own)
        plain.append(task.predict(bench.tutorial.output(task, model, x)))
    for measure in ("accuracy", "nll"):
        one, other = (
            np.array([scores(p, y, task.kind, task.metrics)[measure] for p in predictions])
            for predictions in (by_lab, plain)
        )
        noise = math.hypot(one.std(ddof=1), other.std(ddof=1)) / seeds**0.5
        assert abs(one.mean() - other.mean()) < 3 * noise
        assert other.mean() == pytest.approx(one.mean(), rel=0.2)
    assert scores(torch.stack(plain).mean(dim=0), y, task.kind, task.metrics)["accuracy"] > 0.95


def test_training_and_validation_examples_are_trained_on_together(bench: SimpleNamespace):
    spec, task = small_spec(), Digits()
    merged = bench.no_hero.on_both(spec, task)
    parts = [task.data(split)[0] for split in ("train", "valid")]
    assert torch.equal(merged.data("train")[0], torch.cat(parts))
    assert torch.equal(merged.data("valid")[0], parts[1])
    assert len(task.data("train")[0]) == len(parts[0])


def _space(**more: Any) -> Space:
    return Space(max_lr=Float(1e-3, 0.1, log=True), weight_decay=Float(1e-3, 1.0, log=True), **more)


def test_the_tutorial_searches_what_one_cycle_of_torch_has(bench: SimpleNamespace):
    spec, task = small_spec(search={"trials": 2, "epochs": 2}, final={"epochs": 2, "snapshots": 2}), Digits()
    rows = bench.tutorial.tutorial(spec, task, _space(cycles=Choice((1, 2)), dropout=Float(0.0, 0.5)))
    assert [(row.epochs, row.own_epochs) for row in rows] == [(2 * 2 + 2, 2), (2 * 2 + 6, 6)]
    assert all(row.test["accuracy"] > 0.5 for row in rows)
    assert rows[0].test != rows[1].test


def test_hyperband_saves_epochs_of_a_search(bench: SimpleNamespace):
    spec, task = small_spec(search={"trials": 8, "epochs": 4}), Digits()
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4)
    ended = bench.tutorial.search(spec, task, _space(), lambda trials, epochs: trials >= 8, pruner)
    assert ended.params.keys() == {"max_lr", "weight_decay"}
    assert 8 <= ended.epochs < 8 * 4


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_every_task_that_needs_no_data_has_a_study_on_each_split(bench: SimpleNamespace, tmp_path: Path):
    names = [name for name in bench.tasks.WORKLOADS if name not in bench.tasks.NEED_DATA]
    assert len(bench.tasks.WORKLOADS) >= 10
    for name in names:
        specs = []
        for split in (0, 1):
            work = tmp_path / f"{name}-{split}"
            work.mkdir()
            specs.append(bench.tasks.WORKLOADS[name].study(name, bench.tasks.Source(split, work), 0.3))
            Study.from_spec(specs[-1], work / "study").check()
        assert [spec.seed for spec in specs] == [0, 1]
        assert specs[0].task.options != specs[1].task.options


def test_a_task_without_its_data_is_one_line(bench: SimpleNamespace, tmp_path: Path):
    source = bench.tasks.Source(0, tmp_path, tmp_path)
    with pytest.raises(bench.cli.SpecError, match=r"--data: .* lacks tabular/adult_train\.csv"):
        bench.tasks.WORKLOADS["adult"].study("adult", source)


def test_windows_of_a_file_differ_from_split_to_split(bench: SimpleNamespace, tmp_path: Path):
    (tmp_path / "tabular").mkdir()
    pd.DataFrame({"n": range(100)}).to_csv(tmp_path / "tabular" / "rows.csv", index=False)
    windows = [bench.tasks.Source(split, tmp_path, tmp_path).window("tabular/rows.csv", 40)["n"] for split in range(5)]
    assert len({window.iloc[0] for window in windows}) == 5
    assert all(list(window) == list(range(window.iloc[0], window.iloc[0] + 40)) for window in windows)


# -- the command line, on data of which it knows nothing -------------------------------------------------------------


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "studies" / "benchmarks" / "outcome.py"
    return forked.run([str(script), *map(str, arguments), "--splits", "1", "--jobs", "1"], environment())


FEW = ("search.trials=4", "search.epochs=2", "confirm.seeds=2", "confirm.one_cycle=1", "confirm.several=1")
FEWER = ("bounds.steps=40", "bounds.seeds=1", "final.epochs=3", "final.seeds=2", "final.snapshots=2")
LANES = ("execution.engine=local", "execution.lanes=1", "execution.path=stacked", "execution.width=4")
SETS = [part for setting in (*FEW, *FEWER, *LANES) for part in ("--set", setting)]


@pytest.mark.slow
def test_a_users_table_is_run_once_and_summed_up(tmp_path: Path):
    random = np.random.default_rng(0)
    x = random.normal(size=(240, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(shop=np.arange(240) % 24, sold=x[:, 0] - x[:, 1] ** 2)
    frame.to_csv(tmp_path / "sales.csv", index=False)
    out, keep = tmp_path / "out", tmp_path / "keep"
    own = ("--csv", tmp_path / "sales.csv", "--target", "sold", "--split", "grouped:shop", "--out", out, *SETS)

    first = _run(*own, "--keep", keep)
    assert first.returncode == 0, first.stderr
    path = out / "cells" / "sales-0.json"
    cell = json.loads(path.read_text())
    rows = {row["name"]: row for row in cell["rows"]}
    delivered = rows["delivered"]
    assert (cell["metric"], cell["direction"]) == ("rmse", "minimize")
    assert cell["predicted_again"]["rmse"] == pytest.approx(delivered["test"]["rmse"], rel=1e-4)
    assert {"no hero, train", "no hero, train + valid", "tutorial, 3 seeds averaged"} <= rows.keys()
    assert any("scikit-learn" in name for name in rows)
    assert not [row["failed"] for row in cell["rows"] if row["failed"]]
    trained = pd.read_parquet(keep / "sales-0" / "trials.parquet").groupby("stage")["epochs"].sum()
    examples = cell["examples"]
    both = 1 + examples["valid"] / examples["train"]
    in_epochs = trained.drop("bounds").sum() + (both - 1) * trained.get("refit", 0)
    range_tests = delivered["epochs"] - in_epochs
    assert 0 < range_tests <= 3 * 40 / (examples["train"] // 32) + 3
    assert rows["no hero, train"]["epochs"] == pytest.approx(delivered["epochs"], abs=1.5)
    assert rows["no hero, train + valid"]["epochs"] == pytest.approx(delivered["epochs"], abs=3)
    page = (out / "README.md").read_text()
    assert "| sales | rmse |" in page
    assert all(f"| {name} | 1 |" in page for name in rows if name != "delivered")
    assert set(pd.read_csv(out / "scores.csv")["row"]) == set(rows)

    before = path.stat().st_mtime_ns
    again = _run(*own)
    assert again.returncode == 0, again.stderr
    assert path.stat().st_mtime_ns == before
    other = _run(*own, "--budget-scale", "0.5")
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "was run with other settings" in other.stderr


@pytest.mark.slow
def test_scores_against_compute(tmp_path: Path):
    out = tmp_path / "out"
    short = ("--set", "search.trials=8", "--set", "search.epochs=4")
    asked = ("--budgets", "60", "--tasks", "wine", "--out", out, *short, *SETS[4:])
    # First in a process that has its imports behind it, and then, with no cell to start, the page.
    for cell in (("--cell", "wine-60-0"), ()):
        done = _run(*asked, *cell)
        assert done.returncode == 0, done.stderr
    rows = json.loads((out / "budget_cells" / "wine-60-0.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["delivered", "Optuna TPE", "Optuna TPE + Hyperband"]
    spent = [row["epochs"] for row in rows]
    assert all(spent[0] - 4 <= other <= spent[0] for other in spent[1:])
    assert "| wine | 60 | lab |" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--tasks", "wines"], "--tasks: 'wines' is unknown (did you mean 'wine'?)"),
        (["--csv", "nowhere.csv", "--target", "y"], "--csv: nowhere.csv does not exist"),
        (["--csv", "pyproject.toml"], "--target: is needed with --csv"),
    ],
)
def test_bad_input_is_one_line(
    bench: SimpleNamespace,
    arguments: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["outcome.py", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        bench.cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(line)
    assert not (tmp_path / "out").exists()


# -- what is summed up -----------------------------------------------------------------------------------------------


def _cell(task: str, split: int, direction: str, scores_of: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    metric, loss = ("accuracy", "nll") if direction == "maximize" else ("mae", "mse")
    rows = [
        {"name": name, "test": {metric: test, loss: of_loss}, "epochs": 40.0, "own_epochs": 20.0, "failed": ""}
        for name, (test, of_loss) in scores_of.items()
    ]
    return {
        "task": task,
        "split": split,
        "trials": 24,
        "metric": metric,
        "direction": direction,
        "unit": 20,
        "examples": {"train": 6, "valid": 2, "test": 2},
        "cpu_s": {"cell": 1.0},
        "asked": {"budget_scale": 1.0},
        "machine": "a machine",
        "versions": {"lab": "1"},
        "commit": "abc",
        "rows": rows,
    }


@pytest.fixture
def cells() -> list[dict[str, Any]]:
    return [
        _cell("first", 0, "maximize", {"delivered": (0.90, 0.2), "plain": (0.88, 0.4)}),
        _cell("first", 1, "maximize", {"delivered": (0.90, 0.2), "plain": (0.86, 0.4)}),
        _cell("second", 0, "minimize", {"delivered": (11.0, 2.0), "plain": (10.0, 1.0)}),
        _cell("second", 1, "minimize", {"delivered": (11.0, 2.0), "plain": (10.0, 1.0)}),
    ]


def test_differences_are_paired_and_every_task_weighs_the_same(bench: SimpleNamespace, cells: list[dict[str, Any]]):
    summary = bench.summary.summarise(bench.summary.differences(bench.summary.scores(cells))).set_index("task")
    first, second, both = (summary.loc[name] for name in ("first", "second", "all tasks"))
    assert (first["gain"], first["gain_se"]) == (pytest.approx(3.0), pytest.approx(1.0))
    assert (second["gain"], second["gain_se"]) == (pytest.approx(-10.0), pytest.approx(0.0))
    assert (both["gain"], both["gain_se"]) == (pytest.approx(-3.5), pytest.approx(0.5))
    assert bench.summary.percent(first["loss"]) == pytest.approx(-50.0)
    assert bench.summary.percent(both["loss"]) == pytest.approx(0.0)
    assert (both["gain_worse"], both["gain_worse_tasks"]) == (2, 1)
    assert (both["loss_worse"], both["loss_worse_tasks"]) == (2, 1)
    assert (both["units"], both["cells"], both["tasks"]) == (2.0, 4, 2)


def test_one_split_has_no_error_and_what_failed_is_no_difference(bench: SimpleNamespace, cells: list[dict[str, Any]]):
    one = cells[:1]
    one[0]["rows"].append({"name": "broken", "test": {}, "epochs": 0.0, "own_epochs": None, "failed": "diverged"})
    summary = bench.summary.summarise(bench.summary.differences(bench.summary.scores(one)))
    assert set(summary["row"]) == {"plain"}
    assert summary["gain_se"].isna().all()
    assert (summary["gain_worse_tasks"] == 0).all()


def test_the_page_says_what_was_compared(
    bench: SimpleNamespace,
    cells: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(bench.summary, "write_figure", lambda path, figure, **size: path.write_text(figure.to_json()))
    cells[0]["rows"].append({"name": "broken", "test": {}, "epochs": 0.0, "own_epochs": None, "failed": "diverged"})
    for folder in ("cells", "budget_cells"):
        (tmp_path / folder).mkdir()
        for cell in cells:
            (tmp_path / folder / f"{cell['task']}-{cell['split']}.json").write_text(json.dumps(cell))
    bench.summary.write_summary(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| plain | 2 | 2.0 | -3.50 +- 0.50 | 2 of 4 (1) | +0.0 +- 0.0 | 2 of 4 (1) |" in page
    assert "| plain | +3.00 +- 1.00 | -10.00 +- 0.00 |" in page
    assert "- first, split 0, broken: diverged" in page
    assert "| first | 100 | lab | 2 | accuracy | 0.9 +- 0 | 0.2 +- 0 |" in page
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        "README.md",
        "scores.csv",
        "summary.csv",
        "outcome.png",
        "budget_scores.csv",
        "budgets.png",
    }
