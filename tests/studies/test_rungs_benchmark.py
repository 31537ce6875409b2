"""The benchmark of early stopping on curves whose answer is known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.small import ROOT

Curves = dict[str, np.ndarray]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    import rungs_summary

    for name, few in (("RESAMPLES", 20), ("REPLAYS", 4), ("FORECASTS", 3)):
        monkeypatch.setattr(rungs_summary, name, few)
    return rungs_summary


@pytest.fixture
def units() -> np.ndarray:
    return np.random.default_rng(0).random((48, 2))


@pytest.fixture
def curves(units: np.ndarray) -> Curves:
    """The score at the end is the first hyperparameter; before it, a long run shows its opposite, a short one it."""
    good = np.repeat(units[:, :1], 3, axis=1)
    whole = np.repeat((1 - good)[..., None], 27, axis=2)
    whole[..., -1] = good
    short = {f"one_cycle {r}": np.repeat(good[..., None], r, axis=2) for r in (1, 3, 9)}
    return {"one_cycle 27": whole, "sgdr": np.repeat(good[..., None], 27, axis=2), **short}


def test_early_scores_rank_as_they_were_made_to(bench: ModuleType, curves: Curves, units: np.ndarray):
    figures = bench.summary(curves, units)
    first = {way: rungs[0]["spearman"]["mean"] for way, rungs in figures["rungs"].items()}
    assert (first[bench.CUT], first[bench.SHORT], first[bench.CYCLES]) == (-1.0, 1.0, 1.0)
    assert first[bench.FOREST] > 0.9
    assert figures["ceiling"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert figures["rungs"][bench.CUT][0]["kept"]["mean"] == 0.0
    assert figures["rungs"][bench.SHORT][0]["kept"]["mean"] == 1.0


def test_studies_find_the_best_where_early_scores_rank_right(bench: ModuleType, curves: Curves, units: np.ndarray):
    studies = bench.summary(curves, units)["studies"]
    whole = {way: studies[way][-1] for way in ("none", bench.SHORT, bench.CUT)}
    assert whole["none"]["epochs"] == 48 * 27
    assert whole[bench.SHORT]["epochs"] == 48 + 16 * 3 + 5 * 9 + 5 * 27
    assert whole[bench.CUT]["epochs"] == 48 + 16 * 2 + 5 * 6 + 5 * 18
    assert (whole["none"]["regret"]["mean"], whole[bench.SHORT]["regret"]["mean"]) == (0.0, 0.0)
    assert whole[bench.CUT]["regret"]["mean"] > 0.5
    assert studies["saved"][bench.FOREST]["fewer_epochs"] > 1.5
    assert studies["saved"][bench.FOREST]["regret_added"] < 0.05


def test_the_page_names_every_way_and_task(bench: ModuleType, curves: Curves, units: np.ndarray):
    task = {"settings": 48, "training_s": 1.0, **bench.summary(curves, units)}
    content = {"tasks": {"known": task}, "seeds": 3, "machine": "a machine", "versions": {"lab": "1"}}
    page = bench.readme(content)
    assert page.count("| known") == 5 + 5 + 1
    assert all(way in page for way in (*bench.WAYS, bench.BLIND, "none"))
