"""Search methods on thousands of recorded trainings: who finds good settings early, and who late.

    python studies/benchmarks/search.py --tables FILE... --lcbench DIR --methods random tpe gp forest --out FOLDER

The search is told one recorded seed's score at random; it is judged by the mean over all seeds of its incumbent, which
is chosen by two rules: the best score observed, and the forest's recommendation from the same history. Regret is 0 at
the table's optimum and 1 at its median. FOLDER receives `runs.jsonl` (a line per table, method, seed and number of
evaluations), `traces/` (every evaluation, so that nothing is searched twice; without `runs.jsonl` they are judged
anew), `summary.json`, `README.md` and `regret.png`.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from search_methods import APART, Seen, Trace, needs_epochs, run
from search_problems import Problem, Table, lcbench
from search_summary import Row, summarise, write_plot, write_readme

from lab.record.folder import write_bytes
from lab.search import ForestSampler


@dataclass(frozen=True)
class Work:
    """One method on one problem from one seed."""

    problem: Problem
    method: str
    seed: int
    budget: int
    checkpoints: tuple[int, ...]
    pythons: Mapping[str, Path]
    out: Path

    def trace(self) -> Trace:
        """What an earlier run of the benchmark has kept, else a new search."""
        path = self.out / "traces" / f"{self.problem.name}-{self.method}-{self.seed}-{self.budget}.json"
        if path.exists():
            return Trace([Seen(**seen) for seen in json.loads(path.read_text())])
        trace = run(self.method, self.problem, self.budget, self.seed, self.pythons)
        write_bytes(path, json.dumps([asdict(seen) for seen in trace.seen]).encode())
        return trace


def judge(work: Work) -> list[Row]:
    """Search, then score both incumbents at every checkpoint."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trace = work.trace()
    rows = []
    for point in work.checkpoints:
        early = [seen for seen in trace.seen if seen.spent <= point + 1e-9]
        full = [seen for seen in early if seen.full] or early
        observed = min(full, key=lambda seen: seen.cost).params
        recommended = _recommended(Trace(full), work)
        rows.append(
            Row(
                table=work.problem.name,
                method=work.method,
                seed=work.seed,
                evaluations=point,
                observed=work.problem.regret(observed),
                recommended=work.problem.regret(recommended),
                ask_seconds=sum(seen.ask_seconds for seen in early) / max(len(early), 1),
            )
        )
    return rows


def _recommended(trace: Trace, work: Work) -> dict[str, Any]:
    study = optuna.create_study()
    for seen in trace.seen:
        study.add_trial(
            optuna.trial.create_trial(params=dict(seen.params), distributions=work.problem.space, value=seen.cost)
        )
    return ForestSampler(seed=work.seed).recommend(study).params


def _works(arguments: argparse.Namespace, ended: set[tuple[str, str, int]]) -> Iterator[Work]:
    problems: list[Problem] = [Table(path) for path in arguments.tables]
    if arguments.lcbench is not None:
        problems += lcbench(arguments.lcbench, arguments.lcbench_tasks)
    pythons = {name: path for name in APART if (path := getattr(arguments, f"{name}_python")) is not None}
    points = tuple(sorted({p for p in (*arguments.checkpoints, arguments.budget) if p <= arguments.budget}))
    for seed in range(arguments.seeds):
        for problem in problems:
            for method in arguments.methods:
                if needs_epochs(method) and problem.epochs == 1:
                    continue
                if (problem.name, method, seed) not in ended:
                    yield Work(problem, method, seed, arguments.budget, points, pythons, arguments.out)


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, nargs="+", default=[], help="parquet files with *_seedN columns")
    parser.add_argument("--lcbench", type=Path, help="folder with model.onnx and encoding.json; needs onnxruntime")
    parser.add_argument("--lcbench-tasks", type=int, default=10)
    parser.add_argument("--methods", nargs="+", default=["random", "tpe", "gp", "tpe+hyperband", "forest"])
    for name in APART:
        parser.add_argument(f"--{name}-python", type=Path, help=f"interpreter that has it, for the method {name}")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=200, help="full evaluations")
    parser.add_argument("--checkpoints", type=int, nargs="*", default=[10, 25, 50, 75, 100, 150])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if not arguments.tables and arguments.lcbench is None:
        parser.error("--tables or --lcbench is needed")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, then summarise everything in the folder."""
    arguments = _arguments(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "runs.jsonl"
    rows = _read(path)
    ended = {(row.table, row.method, row.seed) for row in rows if row.evaluations == arguments.budget}
    works = list(_works(arguments, ended))
    with path.open("a") as stream:
        for done, searched in enumerate(_results(works, arguments.processes), start=1):
            rows += searched
            stream.writelines(json.dumps(row.__dict__) + "\n" for row in searched)
            stream.flush()
            last = searched[-1]
            print(
                f"{done}/{len(works)} {last.table} {last.method} seed {last.seed}: "
                f"regret {last.observed:.3f} observed, {last.recommended:.3f} recommended"
            )
    summary = summarise(rows) | {
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": {name: version(name) for name in ("optuna", "scikit-learn", "numpy", "scipy")},
        "seeds": max(row.seed for row in rows) + 1,
    }
    write_bytes(arguments.out / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_readme(arguments.out / "README.md", summary)
    write_plot(arguments.out / "regret.png", rows)
    print((arguments.out / "README.md").read_text())


def _results(works: list[Work], processes: int) -> Iterator[list[Row]]:
    if processes == 1:
        yield from map(judge, works)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(judge, works)


if __name__ == "__main__":
    main()
