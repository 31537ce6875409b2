"""What a proposal has to see: rules for it, by the quality of the search on recorded tables and by slots that idle.

    python studies/benchmarks/concurrency.py --tables FILE... --out FOLDER

A rule (open trials, step) lets proposal n see the trials before `step * (n // step) - (open - step)`, whoever finished
first. `lab` takes half blocks, a step of half as many trials as may be open. (W, W) is also what one lane of W slots
gives where proposals see whatever has finished, (W, 1) what W lanes at their own pace give. FOLDER receives
`runs.jsonl` (a line per table, rule, seed and number of evaluations; searched once) and `result.json`. Regret is 0 at a
table's optimum and 1 at its median.

Slots idle where the next trial must wait for an older one. Simulated lanes train epochs of unequal length, once with
each rule and once with none; what counts is how much later the last trial ends.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import platform
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from search_problems import Table
from search_summary import Row, summarise

from lab.record.folder import write_bytes
from lab.search import ForestSampler

RULES = ((16, 16), (16, 8), (16, 1), (8, 8), (8, 4), (32, 32))
POINTS = (25, 64, 100)


@dataclass(frozen=True)
class Rule:
    """Trials that may be open, and the step in which what a proposal sees grows."""

    open: int
    step: int

    @property
    def name(self) -> str:
        return f"{self.open}/{self.step}"

    def seen(self, number: int) -> int:
        return max(self.step * (number // self.step) - (self.open - self.step), 0)


def search(path: Path, rule: Rule, seed: int) -> list[dict[str, Any]]:
    """The regret of the best score observed after so many evaluations."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = Table(path)
    rng = np.random.default_rng([seed, 1])
    study = optuna.create_study(sampler=ForestSampler(seed=seed))
    open_trials: list[tuple[optuna.Trial, float]] = []
    seen: list[tuple[float, dict[str, Any]]] = []
    rows = []
    for number in range(max(POINTS)):
        while number - len(open_trials) < rule.seen(number):
            study.tell(*open_trials.pop(0))
        trial = study.ask(problem.space)
        cost = problem.observe(trial.params, problem.epochs, rng)
        open_trials.append((trial, cost))
        seen.append((cost, trial.params))
        if number + 1 in POINTS:
            regret = problem.regret(min(seen, key=lambda one: one[0])[1])
            rows.append(
                {"table": path.stem, "rule": rule.name, "seed": seed, "evaluations": number + 1, "regret": regret}
            )
    return rows


@dataclass(frozen=True)
class Machine:
    """Lanes that train epochs of unequal length; every spread is a standard deviation of the logarithm."""

    what: str
    lanes: int
    width: int
    trials: int
    open: int
    speeds: float = 0.0
    """The spread of the lanes' speeds."""
    lengths: float = 0.0
    """The spread of the trials' lengths, for lanes of one slot."""
    diverge: float = 0.05
    """Share of trials that end in the first third of their epochs."""


MACHINES = (
    Machine("1 lane x 1", 1, 1, 64, 16),
    Machine("1 lane x 16", 1, 16, 64, 16),
    Machine("1 lane x 16, 15 % diverge", 1, 16, 64, 16, diverge=0.15),
    Machine("1 lane x 16, 256 trials", 1, 16, 256, 16),
    Machine("2 lanes x 8, alike", 2, 8, 64, 16, speeds=0.05),
    Machine("2 lanes x 8, unequal", 2, 8, 64, 16, speeds=0.2),
    Machine("16 lanes x 1, alike", 16, 1, 64, 16, lengths=0.05),
    Machine("16 lanes x 1", 16, 1, 64, 16, lengths=0.2),
    Machine("4 lanes x 1 of 16 open, very unequal", 4, 1, 64, 16, lengths=0.4),
    Machine("8 lanes x 1 of 16 open", 8, 1, 64, 16, lengths=0.2),
    Machine("8 lanes x 1 of 16 open, very unequal", 8, 1, 64, 16, lengths=0.4),
    Machine("200 lanes x 1, alike", 200, 1, 800, 200, lengths=0.05),
    Machine("200 lanes x 1", 200, 1, 800, 200, lengths=0.2),
    Machine("100 lanes x 1 of 200 open", 100, 1, 800, 200, lengths=0.2),
    Machine("200 lanes x 1 of 400 open", 200, 1, 1600, 400, lengths=0.2),
    Machine("25 lanes x 4 of 200 open, unequal", 25, 4, 800, 200, speeds=0.1),
)
_EPOCHS, _EPOCH_SPREAD = 27, 0.05


def last_end(machine: Machine, rule: Rule | None, seed: int) -> float:
    """When the last trial ends, in epochs. None: proposals wait for nothing."""
    rng = np.random.default_rng(seed)
    early = rng.random(machine.trials) < machine.diverge
    epochs = np.where(early, rng.integers(1, _EPOCHS // 3, machine.trials), _EPOCHS)
    lengths = np.exp(rng.normal(0, machine.lengths, machine.trials))
    speeds = np.exp(rng.normal(0, machine.speeds, machine.lanes))
    left = dict(enumerate(epochs.tolist()))
    running: list[list[int]] = [[] for _ in range(machine.lanes)]
    idle: set[int] = set()
    due = [(0.0, lane) for lane in range(machine.lanes)]
    begun = ended_in_a_row = 0
    now = 0.0
    while left:
        now, lane = heapq.heappop(due)
        before = len(left)
        for trial in running[lane]:
            left[trial] -= 1
        running[lane] = [trial for trial in running[lane] if left[trial] or left.pop(trial)]
        while ended_in_a_row < begun and ended_in_a_row not in left:
            ended_in_a_row += 1
        while begun < machine.trials and len(running[lane]) < machine.width:
            if rule is not None and ended_in_a_row < rule.seen(begun):
                break
            running[lane].append(begun)
            begun += 1
        if running[lane]:
            factor = lengths[running[lane][0]] if machine.width == 1 else 1.0
            heapq.heappush(due, (now + factor * speeds[lane] * math.exp(rng.normal(0, _EPOCH_SPREAD)), lane))
        else:
            idle.add(lane)
        if len(left) < before:
            for other in sorted(idle - {lane}):
                heapq.heappush(due, (now, other))
            idle &= {lane}
    return now


def later(machine: Machine, step: int, seeds: int) -> float:
    """How much later the last trial ends by a rule than by none: the share of the time without it."""
    rule = Rule(machine.open, step)
    by_rule = [last_end(machine, rule, seed) for seed in range(seeds)]
    return float(np.mean(by_rule) / np.mean([last_end(machine, None, seed) for seed in range(seeds)]) - 1)


def idle_table(seeds: int) -> dict[str, dict[str, float]]:
    """By machine and step: all at once, in halves, quarters, one by one."""
    return {
        machine.what: {
            name: round(later(machine, step, seeds), 4)
            for name, step in (
                ("blocks", machine.open),
                ("half blocks", machine.open // 2),
                ("quarter blocks", machine.open // 4),
                ("one by one", 1),
            )
        }
        for machine in MACHINES
    }


def quality(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By the number of evaluations and the rule: mean rank, its interval, and mean regret over tables and seeds."""
    as_rows = [Row(r["table"], r["rule"], r["seed"], r["evaluations"], r["regret"], r["regret"], 0.0) for r in rows]
    by_point = summarise(as_rows)["rules"]["observed"]
    return {
        point: {
            rule: {"rank": rank, "regret": float(np.mean([means[rule] for means in at["regret"].values()]))}
            for rule, rank in at["rank"].items()
        }
        for point, at in by_point.items()
    }


def _works(arguments: argparse.Namespace, ended: set[tuple[str, str, int]]) -> Iterator[tuple[Path, Rule, int]]:
    for seed, rule, path in product(range(arguments.seeds), RULES, arguments.tables):
        if (path.stem, Rule(*rule).name, seed) not in ended:
            yield path, Rule(*rule), seed


def _search(work: tuple[Path, Rule, int]) -> list[dict[str, Any]]:
    return search(*work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, nargs="*", default=[], help="parquet files with *_seedN columns")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "runs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    works = list(_works(arguments, {(row["table"], row["rule"], row["seed"]) for row in rows}))
    with path.open("a") as stream, ProcessPoolExecutor(arguments.processes) as pool:
        for searched in pool.map(_search, works):
            rows += searched
            stream.writelines(json.dumps(row) + "\n" for row in searched)
            stream.flush()
    result = {
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": {name: version(name) for name in ("optuna", "scikit-learn", "numpy", "scipy")},
        "quality": quality(rows),
        "later": idle_table(seeds=20),
        "machines": [asdict(machine) for machine in MACHINES],
    }
    write_bytes(arguments.out / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps({name: result[name] for name in ("quality", "later")}, indent=1))


if __name__ == "__main__":
    main()
