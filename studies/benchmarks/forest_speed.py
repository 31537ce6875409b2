"""What a proposal costs after many trials, in seconds of one core: the forest search's, and Optuna's GP's and TPE's.

Six hyperparameters; a third of the trials pruned at one of three rungs, which the forest is fitted to as well (of
pruned trials TPE looks at the last score, the GP at none). The forest's proposal is a fit and 3,000 candidates.

    python studies/benchmarks/forest_speed.py [--trials 100 1000 5000] [--rounds 3] [--output reports/forest_speed]

The GP, whose cost grows with the cube of the trials, is not asked beyond 1,000. All in turn, on the same histories.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
from measured import keep, listed, machine, median_and_span, versions
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from threadpoolctl import threadpool_limits

from lab.response.encode import Encoding
from lab.search import ForestSampler

SPACE: dict[str, BaseDistribution] = {
    "max_lr": FloatDistribution(1e-4, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-5, 1.0, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
    "momentum": FloatDistribution(0.5, 0.99),
    "cycles": CategoricalDistribution((1, 2, 3)),
    "depth": IntDistribution(1, 8),
}
MOST_FOR_GP = 1000


def samplers(seed: int) -> dict[str, Callable[[], BaseSampler]]:
    return {
        "forest": lambda: ForestSampler(seed=seed, space=SPACE, explore_every=10**9),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
    }


def seconds(trials: int, sampler: BaseSampler, seed: int) -> float:
    """Processor time of the next proposal after so many trials, a third of them pruned at one of three rungs."""
    rng = np.random.default_rng(seed)
    encoding = Encoding(SPACE)
    study = optuna.create_study(sampler=sampler)
    for number, unit in enumerate(rng.random((trials, len(SPACE)))):
        loss = float(((unit[:4] - 0.4) ** 2).sum() + 0.05 * rng.normal()) + 1.0
        cut = (1, 3, 9)[number // 3 % 3] if number % 3 == 0 else 27
        curve = {epoch: loss + 1 / epoch for epoch in (1, 3, 9, 27) if epoch <= cut}
        state = optuna.trial.TrialState.COMPLETE if cut == 27 else optuna.trial.TrialState.PRUNED
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=curve[27] if cut == 27 else None,
                params=encoding.values(unit),
                distributions=SPACE,
                intermediate_values=curve,
            )
        )
    with threadpool_limits(limits=1):
        begin = time.process_time()
        study.ask(SPACE)
        return time.process_time() - begin


def page(timings: dict[int, dict[str, list[float]]], rounds: int) -> str:
    lines = [
        "# What a proposal costs",
        "",
        f"Seconds of one core until the next trial is proposed, median of {rounds} histories (least to largest), and",
        "as a ratio to the forest's on the same history.",
        f"`python studies/benchmarks/forest_speed.py --rounds {rounds} --output reports/forest_speed`; {machine()};",
        f"{listed(versions('lab', 'optuna', 'scikit-learn', 'numpy', 'scipy', 'torch'))}.",
        "",
        "| trials | sampler | seconds | times the forest's |",
        "|---|---|---|---|",
    ]
    for trials, by_sampler in timings.items():
        for name, times in by_sampler.items():
            ratios = [t / f for t, f in zip(times, by_sampler["forest"], strict=True)]
            lines.append(f"| {trials:,} | {name} | {median_and_span(times)} | {median_and_span(ratios)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and print or keep the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    for make in samplers(0).values():
        seconds(20, make(), 0)  # what is imported at the first proposal is no part of it
    timings: dict[int, dict[str, list[float]]] = {}
    for trials in arguments.trials:
        made = {n: make for n, make in samplers(0).items() if n != "gp" or trials <= MOST_FOR_GP}
        timings[trials] = {name: [] for name in made}
        for seed in range(arguments.rounds):
            for name in made:
                timings[trials][name].append(seconds(trials, samplers(seed)[name](), seed))
    content = {"rounds": arguments.rounds, "seconds": timings, "machine": machine()}
    keep(arguments.output, content, page(timings, arguments.rounds))


if __name__ == "__main__":
    main()
