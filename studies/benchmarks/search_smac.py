"""SMAC3 as a process that is asked and told in lines of JSON; run by `search.py` with an interpreter that has it.

Imports nothing of the project, whose versions SMAC3 does not share.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from typing import Any


def config_space(distributions: dict[str, dict[str, Any]], seed: int) -> Any:
    """The space as ConfigSpace has it, which DEHB takes as well."""
    from ConfigSpace import CategoricalHyperparameter as Choice  # type: ignore[import-not-found, unused-ignore]
    from ConfigSpace import ConfigurationSpace, UniformFloatHyperparameter, UniformIntegerHyperparameter

    space = ConfigurationSpace(seed=seed)
    for name, what in distributions.items():
        if "choices" in what:
            space.add(Choice(name, what["choices"]))
        else:
            kind = UniformIntegerHyperparameter if what["int"] else UniformFloatHyperparameter
            space.add(kind(name, what["low"], what["high"], log=what["log"]))
    return space


def main() -> None:
    """Read the space, then answer every cost with the next point."""
    from smac import HyperparameterOptimizationFacade as Facade  # type: ignore[import-not-found, unused-ignore]
    from smac import Scenario
    from smac.runhistory.dataclasses import TrialValue  # type: ignore[import-not-found, unused-ignore]

    talk = sys.stdout
    sys.stdout = sys.stderr
    asked = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            config_space(asked["space"], asked["seed"]),
            n_trials=asked["budget"],
            seed=asked["seed"],
            deterministic=True,
            output_directory=folder,
        )
        smac = Facade(scenario, lambda config, seed=0: 0.0, logging_level=logging.ERROR, overwrite=True)
        for _ in range(asked["budget"]):
            begin = time.perf_counter()
            info = smac.ask()
            seconds = time.perf_counter() - begin
            params = {k: v.item() if hasattr(v, "item") else v for k, v in dict(info.config).items()}
            talk.write(json.dumps({"params": params, "seconds": seconds}) + "\n")
            talk.flush()
            smac.tell(info, TrialValue(cost=json.loads(sys.stdin.readline()), time=1.0))


if __name__ == "__main__":
    main()
