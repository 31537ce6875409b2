"""What a proposal of the forest search costs: fit and about 3,000 candidates, in seconds of one core, by history.

python studies/benchmarks/forest_speed.py [--trials 100 1000 5000]
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.search import ForestSampler
from lab.surrogate.encode import Encoding

SPACE: dict[str, BaseDistribution] = {
    "max_lr": FloatDistribution(1e-4, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-5, 1.0, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
    "momentum": FloatDistribution(0.5, 0.99),
    "cycles": CategoricalDistribution((1, 2, 3)),
    "depth": IntDistribution(1, 8),
}


def seconds(trials: int) -> float:
    """Processor time of the next proposal after so many trials, a third of them pruned at one of three rungs."""
    rng = np.random.default_rng(0)
    encoding = Encoding(SPACE)
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=SPACE, explore_every=10**9))
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
    begin = time.process_time()
    study.ask(SPACE)
    return time.process_time() - begin


def main() -> None:
    """Print one line of JSON per number of trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000, 5000])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds(20)  # what is imported at the first proposal is no part of it
    for trials in parser.parse_args().trials:
        print(json.dumps({"trials": trials, "seconds": round(seconds(trials), 3)}), flush=True)


if __name__ == "__main__":
    main()
