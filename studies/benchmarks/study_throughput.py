"""A study's explore stage against the same search written by hand on plain Ray Tune.

Four workloads: digits (64 trials of 27 epochs), adult with embeddings (64 of 3), hourly bike rentals (64 of 6), a
small CNN on a part of CIFAR-10 (24 of 3). By hand: OptunaSearch (TPE), one Ray trial per configuration, reused actors,
the same model, data, space, batch size and epochs, one thread per trial, both cores; `typical` as tutorials write it,
`tuned` by somebody who knows the costs, `asha` the tuned one with ASHA. Each side is a process of its own, run in turn,
`--rounds` times. Its time includes Ray's start and reading the data, and for `lab` the probe and the range test, which
the others do not have: their range of max_lr is given. Afterwards each side's best setting is trained anew on fresh
seeds, all in the same way, untimed: its confirmed score.

    python studies/benchmarks/study_throughput.py --data FOLDER [--only digits adult bike cifar10] [--rounds 3]
        [--output reports/throughput]

FOLDER holds tabular/adult_train.csv, tabular/bike_sharing_hour.csv and cifar10/train.parquet; digits needs none. What
an earlier run has written of other workloads stays.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from measured import keep, listed, machine, median_and_span, versions
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.study import StudyDirection

from lab.record.spec_file import read_spec
from lab.record.trials import TrialRow, read_trials
from lab.search.expected import by_expectation
from lab.search.observed import as_trials
from lab.spec.distributions import distributions
from lab.spec.study import StudySpec
from lab.spec.trial import Observation, Outcome, derive_seed
from lab.stages.from_bounds import space_of
from lab.study.study import Study

ROOT = Path(__file__).resolve().parents[2]
_HALF_BLOCK = 8
SIDES = ("lab", "typical", "tuned", "asha")
ENDING = "ending"
"""`lab` with a search that ends once a further trial is expected to gain less than another seed changes."""


@dataclass(frozen=True)
class Workload:
    """A shipped spec, what is set beside it (`{data}` is the folder), and the rates that by hand are searched."""

    spec: str
    settings: Mapping[str, Any]
    rates: tuple[float, float]

    def study(self, data: Path, seed: int) -> StudySpec:
        settings = {k: v.format(data=data) if isinstance(v, str) else v for k, v in self.settings.items()}
        return read_spec(ROOT / "studies" / self.spec, {**settings, "seed": seed})


WORKLOADS = {
    "digits": Workload("digits.yaml", {"search.trials": 64, "search.epochs": 27}, (1e-3, 0.6)),
    "noisy": Workload(
        "digits.yaml",
        {
            "search.trials": 64,
            "search.epochs": 27,
            "task": str(ROOT / "studies/benchmarks/noisy_digits.py:NoisyDigits"),
        },
        (1e-3, 0.6),
    ),
    "adult": Workload(
        "table.yaml",
        {
            "task.path": "{data}/tabular/adult_train.csv",
            "task.target": "income",
            "batch_size": 128,
            "search.trials": 64,
            "search.epochs": 3,
        },
        (1e-4, 0.3),
    ),
    "bike": Workload(
        "table.yaml",
        {
            "task.path": "{data}/tabular/bike_sharing_hour.csv",
            "task.target": "cnt",
            "task.ignore": ["instant", "casual", "registered"],
            "task.metric": "r2",
            "task.bins": 0,  # as by hand; with them the net is worse here
            "batch_size": 128,
            "search.trials": 64,
            "search.epochs": 6,
        },
        (1e-3, 0.3),
    ),
    "cifar10": Workload(
        "images.yaml",
        {
            "task.path": "{data}/cifar10/train.parquet",
            "task.limit": 5_000,
            "batch_size": 128,
            "search.trials": 24,
            "search.epochs": 3,
        },
        (1e-4, 0.3),
    ),
}


def by_lab(spec: StudySpec) -> dict[str, Any]:
    """`lab study run` up to the end of its explore stage."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(spec, Path(folder) / "run")
        explore = study.run(until="explore").artefact("explore")
        rows = read_trials(study.record, "explore")
        best = explore["best"]
        return {
            "best": best["score"],
            "params": best["params"],
            "trials": explore["trials"],
            "epochs": sum(len(row.curve) for row in rows),
            "lanes": explore["lanes"],
            "width": explore["width"],
            "recommended": explore["recommended"],
            "bests": bests([*short_trials(study, spec), *rows]),
            "rows": [
                {"at": row.ended_at, "score": row.score, "params": dict(row.params), "outcome": row.outcome}
                for row in rows
            ],
            "space": {
                name: distribution_to_json(one)
                for name, one in distributions(space_of(study.spec, study.record)).items()
            },
        }


def recommended(run: Mapping[str, Any], seed: int) -> list[dict[str, Any]]:
    """What `lab` would hand out, from when on: the best score, and what its model expects to be the best once enough
    trials have ended, looked at after every half block of them. Made from what `by_lab` tells, and not timed."""
    space = {name: json_to_distribution(text) for name, text in run["space"].items()}
    rows = sorted(run["rows"], key=lambda row: row["at"])
    handed: list[dict[str, Any]] = []
    for count in (*range(_HALF_BLOCK, len(rows), _HALF_BLOCK), len(rows)):
        seen = [Observation(row["params"], Outcome(row["outcome"]), row["score"], {}) for row in rows[:count]]
        ranked = by_expectation(as_trials(seen, space), space, StudyDirection.MAXIMIZE, derive_seed(seed, "explore"))
        if ranked and (not handed or ranked[0].params != handed[-1]["params"]):
            expected = {"score": ranked[0].score, "params": dict(ranked[0].params)}
            handed.append({"at": rows[count - 1]["at"], **expected})
    begin = handed[0]["at"] if handed else float("inf")
    return [best for best in run["bests"] if best["at"] < begin] + handed


def short_trials(study: Study, spec: StudySpec) -> list[TrialRow]:
    """The whole trainings by which the range test was decided; its ramps have no such score."""
    return [row for row in read_trials(study.record, "bounds") if len(row.curve) == spec.search.epochs]


def bests(rows: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """What would be handed out, from when on: the setting with the best score of the trials that have ended."""
    best: list[dict[str, Any]] = []
    for row in sorted((row for row in rows if row.score is not None), key=lambda row: row.ended_at or 0.0):
        if not best or row.score > best[-1]["score"]:
            best.append({"at": row.ended_at, "score": row.score, "params": dict(row.params)})
    return best


def confirmed(spec: StudySpec, params: Mapping[str, Any], seeds: int) -> list[float]:
    """Scores of a setting, trained in full on seeds that no search has seen."""
    import torch
    from throughput_by_hand import tuned

    from lab.tasks.load import load_task
    from lab.tasks.task import Task

    task = load_task(spec.task)
    assert isinstance(task, Task)
    scores = []
    for seed in range(1_000, 1_000 + seeds):
        torch.manual_seed(seed)
        *_, last = tuned(spec, task, {**params, "seed": seed}, spec.search.epochs)
        scores.append(last)
    return scores


def timed(name: str, side: str, data: Path, seed: int, cache: str) -> dict[str, Any]:
    """Run one side in a process of its own.

    Args:
        cache: the folder in which `lab` keeps how long its steps took.
    """
    command = [sys.executable, __file__, "--only", name, "--side", side, "--data", str(data), "--seed", str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", "XDG_CACHE_HOME": cache}
    began_at, begin = time.time(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{name}, {side}: failed\n{done.stderr}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return {"workload": name, "side": side, "seed": seed, "seconds": seconds, "began_at": began_at, **answer}


def measure(name: str, data: Path, rounds: int, seed: int) -> list[dict[str, Any]]:
    """All sides in turn."""
    runs = []
    for number, side in product(range(rounds), SIDES):
        with tempfile.TemporaryDirectory() as cache:
            run = timed(name, side, data, seed + number, cache)
            run["confirmed"] = confirmed(WORKLOADS[name].study(data, seed), run["params"], seeds=3)
            runs.append(run)
            print(f"{name} {side}: {run['seconds']:.1f} s, best {run['best']:.4f}", flush=True)
    return runs


def page(content: Mapping[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    runs = content["runs"]
    names = list(dict.fromkeys(run["workload"] for run in runs))
    text = f"""# The explore stage against plain Ray Tune

Wall time of whole processes, Ray's start and reading the data included, sides in turn.
`python studies/benchmarks/study_throughput.py --data FOLDER --output reports/throughput`.
{listed(content["versions"])}; {content["machine"]}.
"""
    for name in names:
        mine = [run for run in runs if run["workload"] == name]
        lab = [run["seconds"] for run in mine if run["side"] == "lab"]
        text += f"\n## {name}, n = {len(lab)}\n\n"
        text += "| | median s | times lab: median (least to largest) | trials a minute | epochs | best | confirmed |\n"
        text += "|---|---|---|---|---|---|---|\n"
        for side in SIDES:
            of_side = [run for run in mine if run["side"] == side]
            seconds = [run["seconds"] for run in of_side]
            ratios = [s / own for s, own in zip(seconds, lab, strict=True)]
            rate = statistics.median(60 * run["trials"] / run["seconds"] for run in of_side)
            scores = [score for run in of_side for score in run["confirmed"]]
            spread = statistics.stdev(scores)
            text += (
                f"| {side} | {statistics.median(seconds):.1f} | {median_and_span(ratios)} | {rate:.0f}"
                f" | {statistics.mean(run['epochs'] for run in of_side):.0f}"
                f" | {statistics.mean(run['best'] for run in of_side):.4f}"
                f" | {statistics.mean(scores):.4f} (sd {spread:.4f}) |\n"
            )
    return text


def main() -> None:
    """Run all sides in turn and write what was found, or, with `--side`, run one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=["digits", "adult", "bike", "cifar10"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=(*SIDES, ENDING))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    if arguments.side:
        workload = WORKLOADS[arguments.only[0]]
        spec = workload.study(data, arguments.seed)
        if arguments.side in ("lab", ENDING):
            ending = {"until": {"gain_below_noise": True}} if arguments.side == ENDING else {}
            print(json.dumps(by_lab(spec.changed(**ending))))
        else:
            from throughput_by_hand import search

            print(json.dumps(search(spec, workload.rates, arguments.side)))
        return
    kept = arguments.output / "result.json" if arguments.output else None
    before = json.loads(kept.read_text())["runs"] if kept is not None and kept.exists() else []
    content = {
        "machine": machine(),
        "versions": versions("lab", "torch", "ray", "optuna", "scikit-learn"),
        "runs": [run for run in before if run["workload"] not in arguments.only]
        + [run for name in arguments.only for run in measure(name, data, arguments.rounds, arguments.seed)],
    }
    keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
