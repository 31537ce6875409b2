"""How long until a search knows a setting that is worth what plain Ray Tune with ASHA knows at its end?

The searches of `study_throughput.py`: `lab study run` up to the end of its explore stage, and by hand on plain Ray
Tune, TPE (`tuned`) and TPE with ASHA (`asha`), each a process of its own, run in turn; and `lab` with a search that
ends once a further trial is expected to gain less than another seed changes (`ending`). Each keeps when it would have
handed out which setting: the one with the best score so far, `lab` from 24 trials on the one that it recommends, which
the model of its search expects to be the best. Afterwards, untimed, every such setting is trained anew on
fresh seeds, all in the same way, and the mean of these is what it is worth.

Workloads beside those of `study_throughput.py`: `noisy`, digits with a fifth of the training labels wrong.

    python studies/benchmarks/time_to_quality.py --data FOLDER [--only digits noisy adult bike cifar10]
        [--sides lab ending tuned asha] [--rounds 3]
        [--output reports/time_to_quality]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measured import keep, listed, machine, median_and_span, versions, write_figure, written_below
from study_throughput import ENDING, WORKLOADS, confirmed, recommended, timed

OURS = ("lab", ENDING)
SIDES = (*OURS, "tuned", "asha")
_NAMES = {
    "lab": "lab",
    ENDING: "lab, ending early",
    "tuned": "Ray Tune, TPE",
    "asha": "Ray Tune, TPE and ASHA",
}
_COLORS = {"lab": "#1f77b4", ENDING: "#9ecae1", "tuned": "#2ca02c", "asha": "#d62728"}
_LAST = "Whole searches"
"""What the last lines that are measured begin with."""
_SEEDS = 4
_MOMENTS = 200


def measure(name: str, data: Path, rounds: int, seed: int, sides: Sequence[str]) -> list[dict[str, Any]]:
    """The sides in turn, then what their settings are worth."""
    runs = []
    with tempfile.TemporaryDirectory() as cache:
        for number in range(rounds):
            for side in sides:
                run = timed(name, side, data, seed + number, cache)
                runs.append(run)
                print(f"{name} {side}: {run['seconds']:.1f} s, best {run['best']:.4f}", flush=True)
    spec = WORKLOADS[name].study(data, seed)
    for run in runs:
        if run["side"] in OURS:
            run["observed"] = run["bests"]
            run["bests"] = recommended(run, run["seed"])
            del run["rows"], run["space"]
        worths: dict[str, list[float]] = {}
        for best in (*run["bests"], *run.get("observed", ())):
            if "at" not in best:  # it stands in both
                continue
            best["after_s"] = best.pop("at") - run["began_at"]
            setting = json.dumps(best["params"], sort_keys=True)
            if setting not in worths:
                worths[setting] = confirmed(spec, best["params"], _SEEDS)
            best["confirmed"] = worths[setting]
    return runs


def worth(run: Mapping[str, Any], second: float) -> float | None:
    """The mean confirmed score of the setting that a run would have handed out at a time; None before there is one."""
    earlier = [best for best in run["bests"] if best["after_s"] <= second]
    return statistics.mean(earlier[-1]["confirmed"]) if earlier else None


def mean_worth(runs: Sequence[Mapping[str, Any]], second: float) -> float | None:
    """The same over runs; None before all of them have one. A run that has ended keeps what it had."""
    each = [worth(run, second) for run in runs]
    have = [score for score in each if score is not None]
    return statistics.mean(have) if have and len(have) == len(runs) else None


def reached(runs: Sequence[Mapping[str, Any]], score: float) -> float | None:
    """The first second at which these runs are worth a score on the mean; None where they never are."""
    moments = sorted(best["after_s"] for run in runs for best in run["bests"])
    return next((s for s in moments if (have := mean_worth(runs, s)) is not None and have >= score), None)


def noise(runs: Sequence[Mapping[str, Any]]) -> float:
    """Standard error of the difference of two mean worths over as many rounds, by what another seed changes."""
    seeds = [best["confirmed"] for run in runs for best in run["bests"]]
    rounds = len({run["seed"] for run in runs})
    return float((statistics.mean(map(statistics.variance, seeds)) * 2 / (len(seeds[0]) * rounds)) ** 0.5)


def _observed(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the best scores of these runs are worth in the end; runs of before have handed out nothing else."""
    return f"{statistics.mean(statistics.mean(run.get('observed', run['bests'])[-1]['confirmed']) for run in runs):.4f}"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def page(content: Mapping[str, Any]) -> str:
    """What was measured, on what, as Markdown."""
    runs = content["runs"]
    text = f"""# Time until the answer is as good

Wall time of whole processes, imports, Ray's start, the range test and reading the data included, sides in turn. In the
first round `lab` times its ways to train, and keeps these times for its later studies.
`python studies/benchmarks/time_to_quality.py --data FOLDER --output reports/time_to_quality`.
{listed(content["versions"])}; {content["machine"]}.

Each side would hand out the setting with its best score so far, `lab` from 24 trials on the one that the model of its
search expects to be the best (`observed`: what its best score is worth). What that is worth is its mean score on
{_SEEDS} fresh seeds, and for a side the mean over its rounds. The target is what ASHA's setting is worth at ASHA's end;
the standard error is that of the target over rounds. `ratio` is the time until `lab` is worth the target, to ASHA's
whole time. `noise` is the standard error of the difference of two sides' worths, by what another seed changes:
settings that differ by less are equally good as far as these seeds can tell, and `within it` is the time until `lab`
lies no further below the target. `ending` is `lab` with `until: {{gain_below_noise: true}}`.

"""
    until_it = "| workload | n | target (standard error) | s until it: lab | TPE | ASHA | ASHA ends at s | ratio"
    until_it += " | noise | s within it: lab | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|\n"
    in_the_end = (
        "\n| ends at s, after trials, worth | lab | its best score | ending | TPE | ASHA |\n|---|---|---|---|---|---|\n"
    )
    for name in dict.fromkeys(run["workload"] for run in runs):
        by_side = {side: [r for r in runs if r["workload"] == name and r["side"] == side] for side in SIDES}
        ends = {side: statistics.mean(r["seconds"] for r in by_side[side]) for side in SIDES if by_side[side]}
        finals = [statistics.mean(r["bests"][-1]["confirmed"]) for r in by_side["asha"]]
        target = statistics.mean(finals)
        error = statistics.stdev(finals) / len(finals) ** 0.5 if len(finals) > 1 else float("nan")
        until = {side: reached(by_side[side], target) for side in SIDES}
        error_of_two = noise([run for side in SIDES for run in by_side[side]])
        within = reached(by_side["lab"], target - error_of_two)
        until_it += (
            f"| {name} | {len(finals)} | {target:.4f} ({error:.4f}) | {_seconds(until['lab'])}"
            f" | {_seconds(until['tuned'])} | {_seconds(until['asha'])} | {ends['asha']:.1f}"
            f" | {_ratio(until['lab'], ends['asha'])} | {error_of_two:.4f} | {_seconds(within)}"
            f" | {_ratio(within, ends['asha'])} |\n"
        )
        cells = {side: _in_the_end(by_side[side]) for side in SIDES}
        in_the_end += f"| {name} | {cells['lab']} | {_observed(by_side['lab'])} | {cells[ENDING]} | {cells['tuned']}"
        in_the_end += f" | {cells['asha']} |\n"
    text += until_it + in_the_end
    for side in OURS:
        of_names = (f"{name} {median_and_span(ratios)}" for name, ratios in _ratios(runs, side).items() if ratios)
        text += f"\n{_LAST}, ASHA's time to that of {_NAMES[side]}, round by round: {'; '.join(of_names)}.\n"
    return text


def _in_the_end(runs: Sequence[Mapping[str, Any]]) -> str:
    """Seconds, trials and worth at the end of a side's runs; a side that an earlier measurement had not has none."""
    if not runs:
        return "-"
    seconds, trials = (statistics.mean(run[name] for run in runs) for name in ("seconds", "trials"))
    return f"{seconds:.1f}, {trials:.0f}, {mean_worth(runs, float('inf')):.4f}"


def _ratio(seconds: float | None, asha_s: float) -> str:
    return "never" if seconds is None else f"{seconds / asha_s:.2f}"


def _ratios(runs: Sequence[Mapping[str, Any]], side: str) -> dict[str, list[float]]:
    """By workload, ASHA's whole time to that of a side in each round."""
    return {
        name: [
            other["seconds"] / own["seconds"]
            for own in runs
            for other in runs
            if (own["side"], other["side"]) == (side, "asha")
            and own["workload"] == other["workload"] == name
            and own["seed"] == other["seed"]
        ]
        for name in dict.fromkeys(run["workload"] for run in runs)
    }


def figure(content: Mapping[str, Any]) -> Any:
    """Worth against time, a panel per workload."""
    from plotly.subplots import make_subplots

    runs = content["runs"]
    names = list(dict.fromkeys(run["workload"] for run in runs))
    drawn = make_subplots(rows=1, cols=len(names), subplot_titles=names)
    for column, name in enumerate(names, 1):
        last = max(run["seconds"] for run in runs if run["workload"] == name)
        moments = [last * (i + 1) / _MOMENTS for i in range(_MOMENTS)]
        for side, color in _COLORS.items():
            of_side = [run for run in runs if run["workload"] == name and run["side"] == side]
            drawn.add_scatter(
                x=moments,
                y=[mean_worth(of_side, second) for second in moments],
                name=_NAMES[side],
                legendgroup=side,
                showlegend=column == 1,
                line={"shape": "hv", "color": color},
                row=1,
                col=column,
            )
        drawn.update_xaxes(title_text="seconds", row=1, col=column)
    drawn.update_yaxes(title_text="score on fresh seeds", row=1, col=1)
    drawn.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.2})
    return drawn


def main() -> None:
    """Run the sides in turn and write what came of it; workloads and sides that are not named stay as they were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path())
    parser.add_argument("--only", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    kept = arguments.output / "result.json" if arguments.output else None
    content: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("lab", "torch", "ray", "optuna", "scikit-learn"),
        "runs": json.loads(kept.read_text())["runs"] if kept is not None and kept.exists() else [],
    }
    for name in arguments.only:
        there = {run["side"] for run in content["runs"] if run["workload"] == name}
        if lacking := {"lab", "asha"} - there - set(arguments.sides):
            parser.error(
                f"{name}: {' and '.join(sorted(lacking))} not measured yet; --sides has to name what is compared"
            )
    for name in arguments.only:
        measured = measure(name, arguments.data.resolve(), arguments.rounds, arguments.seed, arguments.sides)
        others = [run for run in content["runs"] if run["workload"] != name or run["side"] not in arguments.sides]
        content["runs"] = others + measured
        keep(arguments.output, content, page(content) + written_below(arguments.output, _LAST))
    if arguments.output:
        write_figure(arguments.output / "curves.png", figure(content), width=360 * len(WORKLOADS), height=420)


if __name__ == "__main__":
    main()
