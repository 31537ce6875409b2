"""The example study on several seeds, as a user runs it: wall time, what was found, test scores of every control.

python studies/benchmarks/digits_seeds.py [--seeds 0 1 2] [--json FILE] [--keep FOLDER]
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
from pathlib import Path
from typing import Any

from measured import machine

from lab.study.study import Study

ROOT = Path(__file__).resolve().parents[2]


def one(seed: int, folder: Path) -> dict[str, Any]:
    """Run one study in a process of its own and read its record."""
    begin = time.perf_counter()
    command = ["-m", "lab", "study", "run", str(ROOT / "studies/digits.yaml"), "--dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *command, "--set", f"seed={seed}"], check=True, env=environment)
    seconds = time.perf_counter() - begin
    study = Study.open(folder)
    refit, ensemble, confirm, explain = (
        study.result.artefact(stage) for stage in ("refit", "ensemble", "confirm", "explain")
    )
    spec = study.spec
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "lanes": f"{spec.execution.lanes} x {spec.execution.width}, {spec.execution.path}",
        "handed_out_test": refit["test"],
        "chosen_test": ensemble["chosen"]["test"],
        "members": len(ensemble["chosen"]["members"]),
        "controls": {c["name"]: {k: v["mean"] for k, v in c["test"].items()} for c in ensemble["controls"]},
        "confirmed": confirm["chosen"]["one_cycle"]["summary"],
        "observed_best": confirm["observed_best"]["score"],
        "params": confirm["chosen"]["one_cycle"]["params"],
        "explains": explain.get("explains"),
        "out_of_bag_r2": explain.get("out_of_bag_r2"),
        "versions": {k: v for k, v in spec.provenance.items() if k != "probe"},
    }


def main() -> None:
    """Run every seed and print the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the study folders here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        base = arguments.keep or Path(temporary)
        runs = [one(seed, base / f"digits-{seed}") for seed in arguments.seeds]
    accuracy = [run["handed_out_test"]["accuracy"] for run in runs]
    summary = {
        "test_accuracy": accuracy,
        "test_accuracy_mean": statistics.mean(accuracy),
        "seconds": [run["seconds"] for run in runs],
        "machine": machine(),
        "runs": runs,
    }
    print(json.dumps({k: v for k, v in summary.items() if k != "runs"}, indent=1))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
