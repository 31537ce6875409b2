"""What `chaos.py` found over one run or several, as figures and as a table.

python studies/benchmarks/chaos_summary.py out/*.json --json reports/reliability/result.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

TOTALS = (
    "trials",
    "trials_as_undisturbed",
    "trials_not_accounted_once",
    "trials_preempted",
    "lost_epochs",
    "duplicate_epochs",
    "epochs",
    "trained_epochs",
)


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures over studies and the faults in them."""
    faults = [fault for entry in rounds for fault in entry["faults"]]
    seconds = sum(entry["seconds"] for entry in rounds)
    totals = {name: sum(entry.get(name, 0) for entry in rounds) for name in TOTALS}
    return {
        "kills": len(faults),
        "studies": len(rounds),
        **totals,
        "same_choice": sum(entry["same_choice"] for entry in rounds),
        "seconds": round(seconds, 1),
        "seconds_per_kill": round(seconds / max(len(faults), 1), 1),
        "repeated_share": round(totals["trained_epochs"] / totals["epochs"] - 1, 4),
        "repeated_epochs_per_kill": round((totals["trained_epochs"] - totals["epochs"]) / max(len(faults), 1), 1),
        "by_kind": {kind: _kind(kind, faults) for kind in sorted({fault["kind"] for fault in faults})},
    }


def _kind(kind: str, faults: list[dict[str, Any]]) -> dict[str, Any]:
    of_kind = [fault for fault in faults if fault["kind"] == kind]
    times = [fault["recovery_s"] for fault in of_kind if fault["recovery_s"] is not None]
    return {
        "count": len(of_kind),
        "measured": len(times),
        "recovery_median_s": round(statistics.median(times), 1) if times else None,
        "recovery_worst_s": max(times, default=None),
    }


def table(by_kind: dict[str, Any]) -> str:
    """Recovery by kind of fault, in Markdown."""
    lines = ["| fault | times | measured | recovery, median s | worst s |", "|---|---|---|---|---|"]
    for kind, figures in by_kind.items():
        cells = (kind, *("" if value is None else value for value in figures.values()))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("results", type=Path, nargs="+", help="what `chaos.py --json` wrote")
    parser.add_argument("--json", type=Path, help="where all of it goes, with every fault")
    arguments = parser.parse_args()
    rounds = [entry for path in arguments.results for entry in json.loads(path.read_text())["rounds"]]
    figures = summary(rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "rounds": rounds}, indent=1) + "\n")
    print(json.dumps({name: value for name, value in figures.items() if name != "by_kind"}, indent=1))
    print(table(figures["by_kind"]))


if __name__ == "__main__":
    main()
