"""The search benchmark on a table small enough to know: its regret, its incumbents, and what it leaves behind."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tests.small import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    import measured
    import search

    def no_browser(figure: Any, **size: int) -> bytes:
        raise RuntimeError("no browser is needed here")

    monkeypatch.setattr(measured, "png_of", no_browser)  # the page is written instead
    return search


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """loss = (step of lr - 2)^2 + 3 for tanh, + 0.1 per seed; the best is 0.1 at lr 0.01 with relu."""
    rows: list[dict[str, Any]] = []
    for step, act, width in product(range(6), ("relu", "tanh"), (16, 64, 256)):
        loss = (step - 2) ** 2 + 3 * (act == "tanh") + 0.0
        seeds = {f"valid_loss_seed{seed}": loss + 0.1 * seed for seed in range(3)}
        rows.append({"lr": 10.0 ** (step - 4), "act": act, "width": width, **seeds})
    path = tmp_path / "toy.parquet"
    pd.DataFrame(rows).to_parquet(path)
    return path


def _params(lr: int, act: str, width: int = 0) -> dict[str, Any]:
    return {"lr": lr, "act": act, "width": width}


def test_a_table_is_an_ordered_grid_with_its_truth(bench: ModuleType, table: Path) -> None:
    problem = bench.Table(table)
    assert problem.space == {
        "lr": IntDistribution(0, 5),
        "act": CategoricalDistribution(["relu", "tanh"]),
        "width": IntDistribution(0, 2),
    }
    assert problem.regret(_params(2, "relu")) == 0
    assert problem.regret(_params(3, "relu")) == pytest.approx(1 / np.median([4, 1, 0, 1, 4, 9, 7, 4, 3, 4, 7, 12]))
    seen = {problem.observe(_params(2, "relu"), 1, np.random.default_rng(i)) for i in range(40)}
    assert {round(value, 6) for value in seen} == {0.0, 0.1, 0.2}


def test_accuracies_are_maximised(bench: ModuleType, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "valid_accuracy_seed0": [0.1, 0.9, 0.5]})
    frame.to_parquet(tmp_path / "t.parquet")
    problem = bench.Table(tmp_path / "t.parquet")
    assert [problem.regret({"x": x}) for x in range(3)] == pytest.approx([2, 0, 1])


def test_errors_are_compared_by_their_logarithm(bench: ModuleType, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3], "valid_mse_seed0": [1e-4, 1e-2, 1.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    problem = bench.Table(tmp_path / "t.parquet")
    assert [problem.regret({"x": x}) for x in range(3)] == pytest.approx([0, 1, 2])


def test_a_point_that_the_table_lacks_is_answered_by_its_nearest(bench: ModuleType, table: Path) -> None:
    frame = pd.read_parquet(table)
    frame[~((frame.lr == 1e-4) & (frame.act == "relu"))].to_parquet(table)
    problem = bench.Table(table)
    assert problem.regret(_params(0, "relu")) == problem.regret(_params(1, "relu"))


def test_a_table_without_results_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SystemExit, match="needs the columns"):
        bench.Table(tmp_path / "t.parquet")


def test_it_runs_summarises_and_goes_on(bench: ModuleType, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ["--tables", str(table), "--seeds", "2", "--budget", "20", "--checkpoints", "5", "10", "--out", str(out)]
    bench.main([*flags, "--methods", "random", "forest"])
    rows = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert {(r["method"], r["seed"], r["evaluations"]) for r in rows} == {
        (m, s, e) for m in ("random", "forest") for s in (0, 1) for e in (5, 10, 20)
    }
    assert all(r["observed"] == 0 for r in rows if r["method"] == "forest" and r["evaluations"] == 20)
    before = (out / "runs.jsonl").read_text()
    bench.main([*flags, "--methods", "random", "forest", "tpe"])
    after = (out / "runs.jsonl").read_text()
    assert after.startswith(before)
    assert len(after.splitlines()) == 18
    summary = json.loads((out / "summary.json").read_text())
    ranks = summary["rules"]["observed"]["20"]["rank"]
    assert sum(rank["mean"] for rank in ranks.values()) == pytest.approx(1 + 2 + 3)
    assert all(rank["low"] <= rank["mean"] <= rank["high"] for rank in ranks.values())
    assert "| toy |" in (out / "README.md").read_text()


def test_nothing_to_search_is_refused(bench: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--out", str(tmp_path / "out")])


@pytest.mark.parametrize("method", ["random+asha", "tpe+hyperband", "forest+forecast"])
def test_shorter_runs_count_by_their_epochs_and_are_no_answer(bench: ModuleType, method: str) -> None:
    class Curve:
        name, epochs = "curve", 9
        space: ClassVar = {"x": FloatDistribution(0, 1)}

        def observe(self, params: dict[str, Any], epochs: int, rng: np.random.Generator) -> float:
            return float(params["x"]) + 1 / epochs

    trace = bench.run(method, Curve(), 14, 0)
    assert 14 <= trace.spent < 15
    assert any(not seen.full for seen in trace.seen)
    assert all(seen.cost == pytest.approx(seen.params["x"] + 1 / 9) for seen in trace.seen if seen.full)
    assert bench.needs_epochs(method)


def test_earlier_settings_are_tried_first(bench: ModuleType, tmp_path: Path) -> None:
    import earlier_studies

    problems = []
    for name, best in (("toy_a", 2), ("toy_b", 2), ("toy_c", 5)):
        frame = pd.DataFrame({"x": range(9), "valid_loss_seed0": [float(abs(x - best)) for x in range(9)]})
        frame.to_parquet(tmp_path / f"{name}.parquet")
        problems.append(bench.Table(tmp_path / f"{name}.parquet"))
    (family,) = earlier_studies.families([*problems])
    rows = list(earlier_studies.measure(family, budget=12, seed=0))
    first = {row["problem"]: row["regrets"][0] for row in rows if row["side"] == "settings"}
    assert first["toy_b"] == 0, "the first of the others has the same best"
    assert all(row["regrets"][-1] == 0 for row in rows if row["side"] == "cold")
    assert len(earlier_studies.curve(rows, "random")) == 12
    assert min(earlier_studies.fewer(rows, at=3)) > 0
