"""The moving average of a 1cycle run's weights beside its last weights, on digits.

    python studies/benchmarks/average.py [--seeds 2] [--decays 0.9 0.98] [--out reports/average]

Each study searches 12 trials of 20 epochs, then trains nine final runs of 60 epochs. Average and last weights are those
of the same runs, so that no luck of a seed stands between them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from measured import keep, listed, machine, versions

from lab.record.spec_file import read_spec
from lab.study.study import Study

RUNS = 9
LAST, AVERAGE, ALL = "single 1cycle run", "average of a 1cycle run's weights", f"mean of {RUNS} 1cycle runs"
METRICS = ("accuracy", "nll")


def one_study(seed: int, decay: float) -> list[dict[str, Any]]:
    """Test scores of each way, and how much the averages weigh in what is chosen."""
    spec = read_spec(Path(__file__).parent.parent / "digits.yaml").model_copy(update={"seed": seed})
    spec = spec.changed(
        bounds={"seeds": 1},
        search={"trials": 12, "epochs": 20},
        confirm={"several": 0},
        final={"seeds": RUNS, "snapshots": 1, "ema_decay": decay, "controls": "none", "refit": False},
        execution={"engine": "local", "beside_s": 0.0},
    )
    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(spec, Path(folder) / "run")
        study.run()
        ensembled = json.loads((study.record.folder / "ensemble.json").read_text())
    members = ensembled["chosen"]["members"]
    rows = [{"what": "chosen", **{metric: ensembled["chosen"]["test"][metric] for metric in METRICS}}]
    rows[0]["averages_weigh"] = sum(member["weight"] for member in members if member["role"] == "averaged")
    for control in ensembled["controls"]:
        if control["name"] in (LAST, AVERAGE, ALL):
            rows.append({"what": control["name"], **{metric: control["test"][metric]["mean"] for metric in METRICS}})
    return [{"seed": seed, "decay": decay, **row} for row in rows]


def summary(rows: list[dict[str, Any]], said: str) -> str:
    """The README of the report."""
    lines = ["# The moving average of a run's weights, on digits", "", said, ""]
    lines += ["| decay | what | studies | test accuracy | test negative log-likelihood |", "|---|---|---|---|---|"]
    for decay in sorted({row["decay"] for row in rows}):
        for what in (LAST, AVERAGE, ALL, "chosen"):
            mine = [row for row in rows if (row["decay"], row["what"]) == (decay, what)]
            cells = [
                f"{statistics.mean(v):.4f} ({min(v):.4f} to {max(v):.4f})"
                for v in ([r[m] for r in mine] for m in METRICS)
            ]
            shown = what
            if what == "chosen":
                weight = statistics.mean(row["averages_weigh"] for row in mine)
                shown = f"chosen on validation, averages weigh {weight:.2f}"
            lines.append(f"| {decay:g} | {shown} | {len(mine)} | {cells[0]} | {cells[1]} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the studies and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--decays", type=float, nargs="+", default=[0.9, 0.98])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = [row for decay in arguments.decays for seed in range(arguments.seeds) for row in one_study(seed, decay)]
    packages = versions("lab", "torch")
    said = (
        f"Made by `studies/benchmarks/average.py`: n = {arguments.seeds} studies for each decay, {RUNS} final runs of "
        f"60 epochs in each, 360 test images; means of studies and their range. {listed(packages)}; {machine()}."
    )
    keep(arguments.out, {"rows": rows, "versions": packages, "machine": machine()}, summary(rows, said))


if __name__ == "__main__":
    main()
