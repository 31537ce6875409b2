"""The replays of the fidelity benchmark on a small table: what they train, pay and hand out."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FULL, SETTINGS, SEEDS, TRIALS = 9, 30, 3, 20


@pytest.fixture(scope="module")
def module(request: pytest.FixtureRequest) -> Any:
    benchmarks = Path(__file__).parents[2] / "studies/benchmarks"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(benchmarks))
        yield importlib.import_module("fidelity_searches")


def table(module: Any, folder: Path, misleading: bool = False) -> Any:
    """A bowl in x; with `misleading` short schedules say the opposite."""
    rng = np.random.default_rng(0)
    points = rng.random(SETTINGS).tolist()
    number = {"step": None, "low": 0.0, "high": 1.0, "log": False}
    rows = [
        ["settings", index, seed, epochs, [*[0.0] * (epochs - 1), score * (-1 if misleading and epochs < FULL else 1)]]
        for epochs in (1, 3, FULL)
        for index, x in enumerate(points)
        for seed in range(SEEDS)
        for score in [-((x - 0.3) ** 2) + 1e-4 * rng.normal()]
    ]
    content = {
        "workload": "bowl",
        "epochs": FULL,
        "space": {"x": {"name": "FloatDistribution", "attributes": number}},
        "settings": [{"x": x} for x in points],
        "rows": rows,
    }
    path = folder / "bowl.json"
    path.write_text(json.dumps(content))
    made = module.Table(path)
    made.trials = TRIALS
    return made


def test_every_setting_in_full_costs_all_epochs_and_finds_the_best(module: Any, tmp_path: Path) -> None:
    search = module.all_full(table(module, tmp_path), 0)
    assert search.epochs == TRIALS * FULL
    assert len({setting for setting, _ in search.trained}) == TRIALS
    assert search.worth(search.expected_best()) == pytest.approx(0.0, abs=1e-2)
    assert search.worth(search.observed_best()) == pytest.approx(0.0, abs=1e-2)


def test_halving_trains_a_third_longer_and_costs_less(module: Any, tmp_path: Path) -> None:
    search = module.halving(table(module, tmp_path), 0, by_expectation=False)
    lengths = [epochs for _, epochs in search.trained]
    assert lengths.count(1) == TRIALS
    assert lengths.count(3) >= TRIALS // 3
    assert lengths.count(FULL) >= TRIALS // 9
    assert search.epochs < TRIALS * FULL / 2
    assert search.worth(search.observed_best()) == pytest.approx(0.0, abs=1e-2)


@pytest.mark.parametrize("misleading", [False, True])
def test_what_short_schedules_do_not_say_is_noticed(module: Any, tmp_path: Path, misleading: bool) -> None:
    search = module.halving(table(module, tmp_path, misleading), 0, by_expectation=True, checks=True)
    assert search.correlation == pytest.approx(-1 if misleading else 1, abs=0.1)
    assert len(search.whole()) == TRIALS if misleading else len(search.whole()) < TRIALS


def test_asha_cuts_trials_before_their_end(module: Any, tmp_path: Path) -> None:
    path, epochs = module.asha(table(module, tmp_path), 0)
    assert TRIALS <= epochs <= TRIALS * FULL
    assert [moment for moment, _ in path] == sorted(moment for moment, _ in path)
