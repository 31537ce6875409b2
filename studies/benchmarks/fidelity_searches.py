"""Searches replayed on a table of `fidelity_table.py`: its settings are the space, a seed of each is what is seen.

Proposals by the model of the forest search, in half blocks as a study makes them; what a search hands out is worth the
mean of the seeds that it has not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, json_to_distribution
from scipy.stats import spearmanr

from lab.record.turns import taught_by
from lab.response.encode import Encoding
from lab.search.acquisition import Acquisition
from lab.search.candidates import apart
from lab.search.fidelity import FIDELITY, Lessons
from lab.search.forecast import rungs
from lab.search.history import History
from lab.search.prior import Prior
from lab.search.threads import on_one_thread

Floats = NDArray[np.float64]
Trained = tuple[int, int]
"""A setting, and the epochs for which it was trained."""
STARTUP, ETA, CHECKED, THRESHOLD = 10, 3, 10, 0.3


class Table:
    """A recorded workload."""

    def __init__(self, path: Path) -> None:
        self.content = json.loads(path.read_text())
        self.name: str = self.content["workload"]
        self.full: int = self.content["epochs"]
        self.lengths = (*rungs(self.full), self.full)
        self.space = {name: json_to_distribution(json.dumps(one)) for name, one in self.content["space"].items()}
        self.encoding = Encoding(self.space)
        settings = self.content["settings"]
        self.units = self.encoding.units([{name: one[name] for name in self.space} for one in settings])
        self.trials = 24 if self.name == "cifar10" else 64
        self.scores = {epochs: self.of("settings", epochs) for epochs in self.lengths}
        """By epochs, [settings, seeds]; where training diverged, the worst there is."""
        worst = min(float(np.nanmin(scores)) for scores in self.scores.values())
        self.scores = {epochs: np.nan_to_num(scores, nan=worst) for epochs, scores in self.scores.items()}
        self.curves = {
            (index, seed): [worst if score is None else score for score in curve] + [worst] * (self.full - len(curve))
            for group, index, seed, epochs, curve in self.content["rows"]
            if group == "settings" and epochs == self.full
        }

    def of(self, group: str, epochs: int) -> Floats:
        """Last scores of the settings or of the rates, [n, seeds]; NaN where training diverged."""
        rows = [row for row in self.content["rows"] if row[0] == group and row[3] == epochs]
        scores = np.full((max(row[1] for row in rows) + 1, max(row[2] for row in rows) + 1), np.nan)
        for _, index, seed, _, curve in rows:
            if len(curve) == epochs and curve[-1] is not None:
                scores[index, seed] = curve[-1]
        return scores


@dataclass
class Search:
    """A search that trains settings of a table for some epochs each, in the order in which it proposes them."""

    table: Table
    seed: int
    trained: list[Trained] = field(default_factory=list)
    proposed: int = 0
    correlation: float | None = None
    """Between the shortest and the full length, where it was looked at."""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 17])
        self.column = {n: self.rng.integers(0, s.shape[1], len(s)) for n, s in self.table.scores.items()}
        self._order = self.rng.permutation(len(self.table.units))
        self._fitted: tuple[int, Acquisition] | None = None
        self._gain: tuple[int, Floats] | None = None

    def cost(self, trained: Trained) -> float:
        setting, epochs = trained
        return -float(self.table.scores[epochs][setting, self.column[epochs][setting]])

    def worth(self, setting: int) -> float:
        """The mean of the seeds of the full length that the search has not seen."""
        full = self.table.full
        return float(np.delete(self.table.scores[full][setting], self.column[full][setting]).mean())

    def model(self, trained: Sequence[Trained]) -> Acquisition:
        """The search's model, of these trainings, the first ones; epochs are one of its inputs."""
        if self._fitted is None or self._fitted[0] != len(trained):
            self._fitted = len(trained), self._fit(trained)
        return self._fitted[1]

    def _fit(self, trained: Sequence[Trained]) -> Acquisition:
        units = self.table.units[[setting for setting, _ in trained]]
        cost = np.array([self.cost(one) for one in trained])
        taught = Lessons(self.table.encoding, units, cost)
        if any(epochs < self.table.full for _, epochs in trained):
            log = [math.log1p(epochs) / math.log1p(self.table.full) for _, epochs in trained]
            wider = Encoding({**self.table.space, FIDELITY: FloatDistribution(0, 1)})
            taught = Lessons(wider, np.column_stack([units, log]), cost)
        none = np.empty((0, units.shape[1]))
        with on_one_thread():
            return Acquisition(self.seed, History((), units, cost, none, none), taught, Prior(None))

    def expected(self, trained: Sequence[Trained]) -> dict[int, float]:
        """The cost in full that the model expects of each setting."""
        return dict(zip([setting for setting, _ in trained], self.model(trained).means.tolist(), strict=True))

    def seen(self) -> list[Trained]:
        """What the next proposal is made from."""
        return self.trained[: taught_by(len(self.trained), max(self.table.trials // 4, 1), STARTUP)]

    def propose(self) -> int:
        """A setting that was not tried: the first ones and every eighth anywhere, else what the model gains most by."""
        self.proposed += 1
        tried = {setting for setting, _ in self.trained}
        free = np.array([setting for setting in self._order if setting not in tried])
        seen = self.seen()
        if self.proposed <= STARTUP or len(seen) < 2 or (self.proposed - STARTUP) % 8 == 0:
            return int(free[0])
        if self._gain is None or self._gain[0] != len(seen):
            self._gain = len(seen), self.model(seen)(self.table.encoding, self.table.units, len(seen))
        pending = self.table.units[[setting for setting, _ in self.trained[len(seen) :]]]
        gain = self._gain[1][free] * apart(self.table.units[free], pending)
        return int(free[gain.argmax()])

    # -- what is handed out ------------------------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.trained)

    def whole(self, count: int | None = None) -> list[int]:
        """The settings that were trained in full among the first trainings."""
        return [setting for setting, epochs in self.trained[:count] if epochs == self.table.full]

    def observed_best(self, count: int | None = None) -> int:
        return min(self.whole(count), key=lambda setting: self.cost((setting, self.table.full)))

    def expected_best(self, count: int | None = None) -> int:
        expected = self.expected(self.trained[:count])
        return min(self.whole(count), key=lambda setting: expected[setting])

    def path(self) -> list[tuple[int, float]]:
        """Epochs, and what the best observed setting is worth by then."""
        done, best, figures = 0, math.inf, []
        for one in self.trained:
            done += one[1]
            if one[1] == self.table.full and self.cost(one) < best:
                best = self.cost(one)
                figures.append((done, self.worth(one[0])))
        return figures


def all_full(table: Table, seed: int) -> Search:
    """Every setting in full."""
    search = Search(table, seed)
    while search.proposed < table.trials:
        search.trained.append((search.propose(), table.full))
    return search


def halving(table: Table, seed: int, by_expectation: bool, checks: bool = False) -> Search:
    """ASHA's promotions on complete schedules of each length, by what the order of numbers lets a proposal see.

    Args:
        by_expectation: a third is promoted by what the model expects of it in full, not by its score.
        checks: the first settings are trained at the shortest and at the full length; where these correlate less than
            `THRESHOLD` in rank, all others are trained in full.
    """
    search = Search(table, seed)
    shortest, pairs = table.lengths[0], list(zip(table.lengths, table.lengths[1:], strict=False))
    at: dict[int, set[int]] = {epochs: set() for epochs in table.lengths}
    for _ in range(CHECKED if checks else 0):
        setting = search.propose()
        search.trained += [(setting, shortest), (setting, table.full)]
        for settings in at.values():
            settings.add(setting)
    if checks:
        first = search.whole()
        short, full = ([search.cost((one, epochs)) for one in first] for epochs in (shortest, table.full))
        search.correlation = float(spearmanr(short, full).statistic)
        if not search.correlation >= THRESHOLD:
            while search.proposed < table.trials:
                search.trained.append((search.propose(), table.full))
            return search

    def promising(results: list[Trained], epochs: int) -> list[int]:
        here = [setting for setting, length in results if length == epochs]
        expected = search.expected(results) if by_expectation and here else {}
        ranked = sorted(here, key=lambda one: expected[one] if expected else search.cost((one, epochs)))
        return ranked[: len(here) // ETA]

    def due() -> Trained | None:
        results = search.seen()
        for low, high in reversed(pairs):
            for setting in promising(results, low):
                if setting not in at[high]:
                    return setting, high
        return None

    while search.proposed < table.trials:
        setting, epochs = due() or (search.propose(), shortest)
        at[epochs].add(setting)
        search.trained.append((setting, epochs))
    for low, high in pairs:  # the rest, a length at a time
        for setting in promising(list(search.trained), low):
            if setting not in at[high]:
                at[high].add(setting)
                search.trained.append((setting, high))
    return search


def asha(table: Table, seed: int) -> tuple[list[tuple[int, float]], int]:
    """Ray Tune's ASHA and TPE, two trials at a time, cut in the middle of their 1cycle: epochs with what the best score
    reported is worth by then, and the epochs of all."""
    search = Search(table, seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    recorded: dict[int, list[float]] = {epochs: [] for epochs in rungs(table.full)}
    free, begun, done = set(range(len(table.units))), 0, 0
    running: list[tuple[optuna.Trial, int, int]] = []
    best, figures = -math.inf, []
    while begun < table.trials or running:
        while len(running) < 2 and begun < table.trials:
            trial = study.ask(table.space)
            distance = ((table.units - table.encoding.units([trial.params])) ** 2).sum(axis=1)
            setting = min(free, key=lambda one: float(distance[one]))
            free.remove(setting)
            running.append((trial, setting, 0))
            begun += 1
        again = []
        for trial, setting, epoch in running:
            done += 1
            score = table.curves[setting, int(search.column[table.full][setting])][epoch]
            if score > best:
                best = score
                figures.append((done, search.worth(setting)))
            ends = epoch + 1 == table.full
            if epoch + 1 in recorded:
                others = recorded[epoch + 1]
                ends |= bool(others) and score < float(np.percentile(others, (1 - 1 / ETA) * 100))
                others.append(score)
            if ends:
                study.tell(trial, score)
            else:
                again.append((trial, setting, epoch + 1))
        running = again
    return figures, done
