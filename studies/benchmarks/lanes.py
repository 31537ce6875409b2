"""What another lane adds: the explore stage of digits on 1, 2, 4 lanes of this machine, in turn.

    python studies/benchmarks/lanes.py [--lanes 1 2 4] [--rounds 3] [--output reports/lanes]

Timed from the start of the first trial to the end of the last, so without Ray's start; every lane has 8 slots and a
thread. The search learns from what has ended, so with more lanes it trains other settings.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import optuna
from measured import keep, listed, machine, median_and_span, versions

from lab.record.journal import ReadOnlyJournal
from lab.record.spec_file import read_spec
from lab.record.trials import open_storage
from lab.study.study import Study

ROOT = Path(__file__).resolve().parents[2]


def measure(lanes: int, seed: int, trials: int) -> dict[str, Any]:
    """Seconds of the explore stage's trials, and the best score."""
    fixed = {"execution.path": "stacked", "execution.width": 8, "search.trials": trials, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        study = Study.from_spec(read_spec(ROOT / "studies/digits.yaml", fixed), Path(folder) / "run")
        result = study.run(engine="ray", lanes=lanes, until="explore")
        storage = open_storage(None, ReadOnlyJournal(study.record.journal_path))
        rows = optuna.load_study(study_name="explore", storage=storage).get_trials(deepcopy=False)
        begun = min(row.datetime_start for row in rows if row.datetime_start)
        ended = max(row.datetime_complete for row in rows if row.datetime_complete)
        score = result.artefact("explore")["best"]["score"]
        return {"lanes": lanes, "seed": seed, "seconds": (ended - begun).total_seconds(), "best": score}


def page(content: dict[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    runs = content["runs"]
    text = f"""# Lanes of one machine

The explore stage of digits, {content["trials"]} trials of 27 epochs, 8 slots a lane, from the first trial to the
last one's end; median (least to largest) of {content["rounds"]} rounds in turn. {content["machine"]};
{listed(content["versions"])}.
`python studies/benchmarks/lanes.py --output reports/lanes`.

| lanes | seconds | trials a minute | times one lane | best accuracy |
|---|---|---|---|---|
"""
    alone = {run["seed"]: run["seconds"] for run in runs if run["lanes"] == runs[0]["lanes"]}
    for lanes in dict.fromkeys(run["lanes"] for run in runs):
        mine = [run for run in runs if run["lanes"] == lanes]
        seconds = [run["seconds"] for run in mine]
        ratios = [alone[run["seed"]] / run["seconds"] for run in mine]
        text += (
            f"| {lanes} | {statistics.median(seconds):.1f} | {60 * content['trials'] / statistics.median(seconds):.0f}"
            f" | {median_and_span(ratios)}"
            f" | {statistics.mean(run['best'] for run in mine):.4f} |\n"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--output", type=Path, help="Write result.json and README.md here.")
    arguments = parser.parse_args()
    content = {
        "machine": machine(),
        "versions": versions("lab", "torch", "ray", "optuna"),
        "rounds": arguments.rounds,
        "trials": arguments.trials,
        "runs": [
            measure(lanes, seed, arguments.trials) for seed in range(arguments.rounds) for lanes in arguments.lanes
        ],
    }
    keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
