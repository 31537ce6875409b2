"""How many trials do the settings of earlier studies save a new one?

Each recorded problem in turn is the new study; the others of the same space are the earlier ones. The forest searched
them from nothing, and each gives the setting with its best score. The new study tries these settings first and goes on
with the forest (`lab study run --warm-start FOLDER`), or goes on by random search, or begins from nothing.

    python studies/benchmarks/earlier_studies.py --lcbench DIR --tables FILE... --out reports/earlier_studies
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from measured import keep, listed, machine, versions, write_figure
from optuna.samplers import BaseSampler, RandomSampler
from search_problems import Params, Problem, Table, lcbench

from lab.search import ForestSampler

SIDES = {
    "cold": "from nothing",
    "settings": "their settings, then the forest",
    "random": "their settings, then random search",
}
_MOST = 10
_SHOWN = (1, 3, 5, 10, 15, 25, 50)


def searched(problem: Problem, sampler: BaseSampler, first: Sequence[Params], budget: int, seed: int) -> dict[str, Any]:
    """The best setting by its score, and the regret of the best so far after each trial."""
    rng = np.random.default_rng([seed, 1])
    study = optuna.create_study(sampler=sampler)
    for setting in first:
        study.enqueue_trial(dict(setting))
    best, regrets = float("inf"), []
    chosen: Params = {}
    for _ in range(budget):
        trial = study.ask(problem.space)
        cost = problem.observe(trial.params, problem.epochs, rng)
        study.tell(trial, cost)
        if cost < best:
            best, chosen = cost, trial.params
        regrets.append(problem.regret(chosen))
    return {"chosen": dict(chosen), "regrets": regrets}


def families(problems: Sequence[Problem]) -> Iterator[list[Problem]]:
    """Problems with the same space, where there are several."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(repr(problem.space), []).append(problem)
    yield from (family for family in kinds.values() if len(family) > 1)


def measure(family: Sequence[Problem], budget: int, seed: int) -> Iterator[dict[str, Any]]:
    """A line for each problem and side."""
    cold = {problem.name: searched(problem, ForestSampler(seed=seed), (), budget, seed) for problem in family}
    for problem in family:
        first = [cold[other.name]["chosen"] for other in family if other is not problem][:_MOST]
        runs = {
            "cold": cold[problem.name],
            "settings": searched(problem, ForestSampler(seed=seed), first, budget, seed),
            "random": searched(problem, RandomSampler(seed=seed), first, budget, seed),
        }
        for side, run in runs.items():
            yield {"problem": problem.name, "family": kind_of(problem), "side": side, "seed": seed, **run}


def kind_of(problem: Problem) -> str:
    """The name of a family of problems."""
    return problem.name.partition("_")[0]


def curve(rows: Sequence[Mapping[str, Any]], side: str) -> list[float]:
    """Mean regret after each trial."""
    return [
        statistics.mean(regrets) for regrets in zip(*(r["regrets"] for r in rows if r["side"] == side), strict=True)
    ]


def fewer(rows: Sequence[Mapping[str, Any]], at: int) -> list[float]:
    """How many times fewer trials the settings need to be where a cold search is after `at`, for each drawing of the
    problems: mean curves of 1,000 bootstrap samples of problems."""
    names = sorted({row["problem"] for row in rows})
    rng, ratios = np.random.default_rng(0), []
    by_name = {name: [row for row in rows if row["problem"] == name] for name in names}
    for _ in range(1000):
        drawn = [row for name in rng.choice(names, len(names)) for row in by_name[name]]
        target = curve(drawn, "cold")[at - 1]
        reached = next((i + 1 for i, regret in enumerate(curve(drawn, "settings")) if regret <= target), None)
        ratios.append(at / reached if reached else 0.0)
    return ratios


def page(content: Mapping[str, Any]) -> str:
    """What was measured, as Markdown."""
    text = f"""# The settings of earlier studies, tried first

Made by `studies/benchmarks/earlier_studies.py`: each problem in turn is the new study, the others of its family are the
earlier ones. All have {content["budget"]} trials; the best setting of each other problem (at most {_MOST}) is tried
first. Regret: 0 at the best that there is, 1 at the median of the space. {listed(content["versions"])};
{content["machine"]}.

"""
    for family in dict.fromkeys(row["family"] for row in content["rows"]):
        rows = [row for row in content["rows"] if row["family"] == family]
        problems, seeds = {row["problem"] for row in rows}, {row["seed"] for row in rows}
        text += f"## {family}: {len(problems)} problems, {len(seeds)} seeds\n\nMean regret after so many trials:\n\n"
        shown = [count for count in _SHOWN if count <= content["budget"]]
        text += "| a new study begins | " + " | ".join(map(str, shown)) + " |\n" + "|---" * (len(shown) + 1) + "|\n"
        for side, name in SIDES.items():
            means = curve(rows, side)
            text += f"| {name} | " + " | ".join(f"{means[count - 1]:.3f}" for count in shown) + " |\n"
        at = 25
        if content["budget"] >= at:
            ratios = fewer(rows, at)
            low, middle, high = np.quantile(ratios, [0.025, 0.5, 0.975])
            text += f"\nTo be where a cold search is after {at}, it takes {middle:.1f} times fewer trials "
            text += f"({low:.1f} to {high:.1f}, bootstrap over problems; 0: never within {content['budget']}).\n\n"
    return text.rstrip("\n") + "\n"


def figure(content: Mapping[str, Any]) -> Any:
    """Mean regret against trials, a panel per family."""
    from plotly.subplots import make_subplots

    names = list(dict.fromkeys(row["family"] for row in content["rows"]))
    drawn = make_subplots(rows=1, cols=len(names), subplot_titles=names)
    for column, family in enumerate(names, 1):
        rows = [row for row in content["rows"] if row["family"] == family]
        for side, color in zip(SIDES, ("#d62728", "#1f77b4", "#7f7f7f"), strict=True):
            means = curve(rows, side)
            drawn.add_scatter(
                x=list(range(1, len(means) + 1)),
                y=means,
                name=SIDES[side],
                legendgroup=side,
                showlegend=column == 1,
                line={"color": color},
                row=1,
                col=column,
            )
        drawn.update_xaxes(title_text="trials", row=1, col=column)
    drawn.update_yaxes(type="log", tickvals=[0.02, 0.05, 0.1, 0.2, 0.5, 1, 2], tickformat="~g")
    drawn.update_yaxes(title_text="mean regret", col=1)
    drawn.update_layout(template="plotly_white", legend={"orientation": "h", "y": -0.2})
    return drawn


def main() -> None:
    """Search what is missing, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, nargs="+", default=[])
    parser.add_argument("--lcbench", type=Path)
    parser.add_argument("--lcbench-tasks", type=int, default=10)
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problems: list[Problem] = [Table(path) for path in arguments.tables]
    problems += lcbench(arguments.lcbench, arguments.lcbench_tasks) if arguments.lcbench else []
    kept = arguments.out / "result.json" if arguments.out else None
    rows = json.loads(kept.read_text())["rows"] if kept is not None and kept.exists() else []
    content = {"machine": machine(), "versions": versions("lab", "optuna", "scikit-learn"), "budget": arguments.budget}
    for seed in range(arguments.seeds):
        for family in families(problems):
            if any(row["seed"] == seed and row["family"] == kind_of(family[0]) for row in rows):
                continue
            rows += list(measure(family, arguments.budget, seed))
            print(f"seed {seed}: {kind_of(family[0])}", flush=True)
            keep(arguments.out, content | {"rows": rows}, page(content | {"rows": rows}))
    if arguments.out:
        write_figure(arguments.out / "regret.png", figure(content | {"rows": rows}), width=1000, height=420)


if __name__ == "__main__":
    main()
