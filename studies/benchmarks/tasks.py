"""Whole studies on a user's kind of data: adult, bike sharing, yeast and a part of CIFAR-10, from a folder of files.

python studies/benchmarks/tasks.py --data FOLDER [--only adult ...] [--output reports/tasks] [--keep FOLDER]

FOLDER holds tabular/adult_train.csv, tabular/adult_test.csv, tabular/bike_sharing_hour.csv,
tabular/yeast_multilabel.csv, cifar10/train.parquet and cifar10/test.parquet. Each study is `studies/table.yaml` or
`studies/images.yaml` with the settings below. Afterwards `lab predict` is asked for the test rows, from a file, and
must give the score that the report has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from measured import machine

from lab.study.study import Study

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Benchmark:
    """One study: a shipped spec, and what is set beside it; `{data}` is the folder."""

    spec: str
    settings: Mapping[str, Any]
    held_out: str | None = None
    """The test rows as a file; None: taken from the study's own table."""


BENCHMARKS = {
    "adult": Benchmark(
        "table.yaml",
        {
            "task.path": "{data}/tabular/adult_train.csv",
            "task.test_path": "{data}/tabular/adult_test.csv",
            "task.target": "income",
            "task.bins": 64,
            "batch_size": 256,
            "search.trials": 32,
            "search.epochs": 6,
            "final.epochs": 12,
        },
        "{data}/tabular/adult_test.csv",
    ),
    "bike_sharing": Benchmark(
        "table.yaml",
        {
            "task.path": "{data}/tabular/bike_sharing_hour.csv",
            "task.target": "cnt",
            "task.ignore": ["casual", "registered"],
            "task.split": {"kind": "time", "by": "dteday"},
            "batch_size": 128,
            "search.trials": 32,
            "search.epochs": 12,
            "final.epochs": 24,
        },
    ),
    "yeast": Benchmark(
        "table.yaml",
        {
            "task.path": "{data}/tabular/yeast_multilabel.csv",
            "task.target": [f"class{i}" for i in range(1, 15)],
            "task.bins": 0,
            "batch_size": 64,
            "search.trials": 64,
            "search.epochs": 12,
            "final.epochs": 24,
        },
    ),
    "cifar10_10k": Benchmark(
        "images.yaml",
        {
            "task.path": "{data}/cifar10/train.parquet",
            "task.test_path": "{data}/cifar10/test.parquet",
            "task.limit": 10_000,
            "batch_size": 128,
            "search.trials": 24,
            "search.epochs": 6,
            "final.epochs": 20,
            "final.snapshots": 4,
        },
        "{data}/cifar10/test.parquet",
    ),
}


def run(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Run one study and ask it to predict its test rows; what it found."""
    benchmark = BENCHMARKS[name]
    settings = {key: json.loads(json.dumps(v).replace("{data}", str(data))) for key, v in benchmark.settings.items()}
    sets = [f"{key}={json.dumps(value)}" for key, value in {"name": name, **settings}.items()]
    begin = time.perf_counter()
    _lab("study", "run", str(ROOT / "studies" / benchmark.spec), "--dir", str(folder), *(f"--set={s}" for s in sets))
    seconds = time.perf_counter() - begin
    study = Study.open(folder)
    ensemble, confirm, explain = (study.result.artefact(stage) for stage in ("ensemble", "confirm", "explain"))
    spec = study.spec
    held_out = benchmark.held_out.replace("{data}", str(data)) if benchmark.held_out else _test_rows(spec, folder)
    said = _lab("predict", str(folder), "--input", str(held_out), "--output", str(folder / "predicted.csv")).stderr
    return {
        "seconds": round(seconds, 1),
        "lanes": f"{spec.execution.lanes} x {spec.execution.width}, {spec.execution.path}",
        "settings": dict(benchmark.settings),
        "trials": spec.search.trials,
        "metric": ensemble["metric"],
        "test": ensemble["chosen"]["test"],
        "predicted_again": _score(said, ensemble["metric"]),
        "members": len(ensemble["chosen"]["members"]),
        "baselines": {b["name"]: b["test"] for b in ensemble["baselines"]},
        "controls": {c["name"]: c["test"][ensemble["metric"]] for c in ensemble["controls"]},
        "confirmed": confirm["chosen"]["one_cycle"]["summary"],
        "params": confirm["chosen"]["one_cycle"]["params"],
        "out_of_bag_r2": explain.get("out_of_bag_r2"),
        "explains": explain.get("explains"),
        "versions": {key: value for key, value in spec.provenance.items() if key != "probe"},
    }


def _lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"lab {' '.join(arguments)}: {done.stderr}")
    return done


def _test_rows(spec: Any, folder: Path) -> Path:
    """The study's test rows in a file of their own."""
    from lab.tasks.load import load_task
    from lab.tasks.table.task import Table

    task = load_task(spec.task)
    assert isinstance(task, Table)  # images come with a test file
    path = folder / "test_rows.csv"
    task.rows_of("test").to_csv(path, index=False)
    return path


def _score(said: str, metric: str) -> float:
    match = re.search(rf"{metric} ([0-9.e+-]+)", said)
    if match is None:
        raise SystemExit(f"lab predict told no {metric}: {said}")
    return float(match[1])


def table(results: Mapping[str, Any]) -> str:
    """The summary in Markdown."""
    rows = []
    for name, r in results.items():
        metric = r["metric"]
        for what, value in (
            ("chosen ensemble", r["test"][metric]),
            ("`lab predict` on the test rows", r["predicted_again"]),
            *((f"{control}, mean of seeds", summary["mean"]) for control, summary in r["controls"].items()),
            *((baseline, test[metric]) for baseline, test in r["baselines"].items()),
        ):
            rows.append({"study": name, "metric": metric, "what": what, "test": f"{value:.4f}"})
    return pd.DataFrame(rows).to_string(index=False)


def main() -> None:
    """Run the studies asked for and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--output", type=Path, help="write NAME.json here")
    parser.add_argument("--keep", type=Path, help="keep the study folders here")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        base = arguments.keep or Path(temporary)
        for name in arguments.only:
            results[name] = run(name, arguments.data.resolve(), base / name)
            print(json.dumps(results[name]["test"]), results[name]["seconds"], flush=True)
            if arguments.output:
                arguments.output.mkdir(parents=True, exist_ok=True)
                path = arguments.output / f"{name}.json"
                path.write_text(json.dumps({"machine": machine(), **results[name]}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
