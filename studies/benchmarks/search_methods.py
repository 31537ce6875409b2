"""The search methods that the benchmark compares, each as its users run it."""

from __future__ import annotations

import json
import subprocess
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from search_problems import Params, Problem

from lab.search import ForestPruner, ForestSampler

PLAIN = ("random", "tpe", "gp", "forest")
APART = {name: Path(__file__).with_name(f"search_{name}.py") for name in ("smac", "dehb")}
"""Methods whose versions of libraries are not the project's."""


@dataclass(frozen=True)
class Seen:
    """One evaluation: what was tried, what was told, and what had been spent by then."""

    params: Params
    cost: float
    full: bool
    """Whether all epochs were run: a shorter run's cost is no final one."""
    spent: float
    """In full evaluations, this one included."""
    ask_seconds: float


@dataclass
class Trace:
    """All evaluations of one method on one problem from one seed."""

    seen: list[Seen] = field(default_factory=list)

    @property
    def spent(self) -> float:
        return self.seen[-1].spent if self.seen else 0.0


def run(method: str, problem: Problem, budget: int, seed: int, pythons: Mapping[str, Path] | None = None) -> Trace:
    """Search a problem until as many epochs are spent as `budget` full evaluations have.

    Args:
        pythons: interpreters of the methods that have one of their own.
    """
    pythons = pythons or {}
    if method in APART:
        python = pythons.get(method)
        if python is None:
            raise SystemExit(f"{method}: needs --{method}-python, the interpreter of an environment that has it")
        return _apart(python, APART[method], problem, budget, seed)
    kind, _, pruner = method.partition("+")
    if pruner:
        return _pruned(_sampler(kind, seed), _pruner(pruner, problem.epochs, seed), problem, budget, seed)
    return _full_evaluations(_sampler(method, seed), problem, budget, seed)


def needs_epochs(method: str) -> bool:
    """Whether a method ends evaluations early, so that it says nothing where there are no epochs."""
    return "+" in method or method == "dehb"


def _sampler(method: str, seed: int) -> BaseSampler:
    kinds: dict[str, Callable[[], BaseSampler]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
        "forest": lambda: ForestSampler(seed=seed),
    }
    if method.startswith("forest:"):  # a variant: forest:option=value,...
        pairs = dict(item.split("=") for item in method.removeprefix("forest:").split(","))
        options: dict[str, Any] = {name: json.loads(value) for name, value in pairs.items()}
        return ForestSampler(seed=seed, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kinds[method]()


def _full_evaluations(sampler: BaseSampler, problem: Problem, budget: int, seed: int) -> Trace:
    rng = np.random.default_rng([seed, 1])
    study = optuna.create_study(sampler=sampler)
    trace = Trace()
    for count in range(1, budget + 1):
        begin = time.perf_counter()
        trial = study.ask(problem.space)
        seconds = time.perf_counter() - begin
        cost = problem.observe(trial.params, problem.epochs, rng)
        study.tell(trial, cost)
        trace.seen.append(Seen(trial.params, cost, True, float(count), seconds))
    return trace


def _pruner(kind: str, epochs: int, seed: int) -> BasePruner:
    kinds: dict[str, Callable[[], BasePruner]] = {
        "hyperband": lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        "asha": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "forecast": lambda: ForestPruner(epochs=epochs, seed=seed),
    }
    return kinds[kind]()


def _pruned(sampler: BaseSampler, pruner: BasePruner, problem: Problem, budget: int, seed: int) -> Trace:
    rng = np.random.default_rng([seed, 1])
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    trace = Trace()
    while trace.spent < budget:
        begin = time.perf_counter()
        trial = study.ask(problem.space)
        seconds = time.perf_counter() - begin
        for epoch in range(1, problem.epochs + 1):
            cost = problem.observe(trial.params, epoch, rng)
            trial.report(cost, epoch)
            if trial.should_prune():
                break
        full = epoch == problem.epochs
        study.tell(trial, cost if full else None, state=None if full else optuna.trial.TrialState.PRUNED)
        spent = trace.spent + epoch / problem.epochs
        trace.seen.append(Seen(trial.params, cost, full, spent, seconds))
    return trace


def _apart(python: Path, script: Path, problem: Problem, budget: int, seed: int) -> Trace:
    """A method in an interpreter of its own: a line of JSON each way per evaluation, of as many epochs as it asks."""
    rng = np.random.default_rng([seed, 1])
    space: dict[str, Any] = {}
    for name, dist in problem.space.items():
        if isinstance(dist, CategoricalDistribution):
            space[name] = {"choices": list(dist.choices)}
        else:
            assert isinstance(dist, (IntDistribution, FloatDistribution))
            space[name] = {
                "low": dist.low,
                "high": dist.high,
                "log": dist.log,
                "int": isinstance(dist, IntDistribution),
            }
    trace = Trace()
    process = subprocess.Popen(
        [str(python), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        asked = {"space": space, "budget": budget, "seed": seed, "epochs": problem.epochs}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        while trace.spent < budget - 1e-9:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{python} {script.name} ended after {len(trace.seen)} evaluations")
            answer = json.loads(line)
            epochs = answer.get("epochs", problem.epochs)
            cost = problem.observe(answer["params"], epochs, rng)
            spent = trace.spent + epochs / problem.epochs
            trace.seen.append(Seen(answer["params"], cost, epochs == problem.epochs, spent, answer["seconds"]))
            process.stdin.write(json.dumps(cost) + "\n")
            process.stdin.flush()
    return trace
