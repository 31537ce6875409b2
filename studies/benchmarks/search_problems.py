"""What the search benchmark searches: recorded tables of trainings, and LCBench as a surrogate.

A problem shows the search one recorded seed at random, as a user would see it, and knows the truth beside it.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import qmc

from lab.response.encode import Encoding

Floats = NDArray[np.float64]
Params = Mapping[str, Any]

_RESULT = re.compile(r"(.+)_seed\d+$")
_LARGER_IS_BETTER = re.compile(r"acc|auc|f1|r2|score|precision|recall")
_LOG_REGRET = re.compile(r"mse|mae|rmse")


class Problem(Protocol):
    """A space with a noisy score to minimise and a truth that only the benchmark looks at."""

    name: str
    space: dict[str, BaseDistribution]
    epochs: int
    """The fidelity of a full evaluation; 1 where there is none."""

    def observe(self, params: Params, epochs: int, rng: np.random.Generator) -> float:
        """The cost that the search is told."""

    def regret(self, params: Params) -> float:
        """0 at the optimum, 1 at the median of the space."""


@dataclass
class Table:
    """A parquet file of hyperparameter columns and `*_seedN` results.

    Numbers become their place among the sorted values of their column, so that every method searches the same ordered
    grid; strings and booleans are choices. A point that the table lacks is answered by its nearest row.
    """

    path: Path
    epochs: int = 1

    def __post_init__(self) -> None:
        self.name = self.path.stem
        frame = pd.read_parquet(self.path)
        results = [c for c in frame.columns if _RESULT.match(c)]
        stems = {c.rpartition("_seed")[0] for c in results}
        if len(stems) != 1:
            raise SystemExit(f"{self.path}: needs the columns <one result>_seed0, _seed1, ...; found {sorted(stems)}")
        metric = stems.pop()
        sign = -1.0 if _LARGER_IS_BETTER.search(metric) else 1.0
        finite = frame[results].replace([np.inf, -np.inf], np.nan).notna().all(axis=1)
        frame = frame[finite].reset_index(drop=True)
        self.space: dict[str, BaseDistribution] = {}
        self._code_of: dict[str, dict[Any, int]] = {}
        codes = []
        for name in frame.columns.difference(results, sort=False):
            values = sorted(frame[name].unique().tolist())
            if len(values) < 2:
                continue
            self._code_of[name] = {value: index for index, value in enumerate(values)}
            choice = isinstance(values[0], (str, bool))
            self.space[name] = CategoricalDistribution(values) if choice else IntDistribution(0, len(values) - 1)
            codes.append(frame[name].map(self._code_of[name]).to_numpy())
        self._codes = np.stack(codes, axis=1).astype(np.int64)
        self._row = {tuple(code): row for row, code in enumerate(self._codes.tolist())}
        self._scores = sign * frame[results].to_numpy(np.float64)
        self._log = bool(_LOG_REGRET.search(metric)) and self._scores.min() > 0
        self._truth = self.shaped(self._scores.mean(axis=1))
        self._best, self._median = float(self._truth.min()), float(np.median(self._truth))

    def shaped(self, costs: Floats) -> Floats:
        """Costs [n] as they are compared: errors that span decades by their logarithm."""
        return np.log(costs) if self._log else costs

    @property
    def rows(self) -> int:
        return len(self._codes)

    def params(self, row: int) -> dict[str, Any]:
        """The setting of a row."""
        coded = zip(self.space.items(), self._codes[row].tolist(), strict=True)
        return {name: d.choices[p] if isinstance(d, CategoricalDistribution) else p for (name, d), p in coded}

    @cached_property
    def means(self) -> Floats:
        """The cost of every row, the mean over its seeds."""
        return np.asarray(self._scores.mean(axis=1))

    def mean_of(self, params: Params) -> float:
        return float(self.means[self._find(params)])

    @cached_property
    def noise_of_best(self) -> float:
        """Standard deviation of a cost between seeds, over the best twentieth of the rows."""
        best = self.means <= np.quantile(self.means, 0.05)
        return float(np.sqrt(self._scores[best].var(axis=1, ddof=1).mean()))

    def column(self, name: str) -> NDArray[Any]:
        """A hyperparameter's value in every row."""
        codes, dist = self._codes[:, list(self.space).index(name)], self.space[name]
        return np.array(dist.choices)[codes] if isinstance(dist, CategoricalDistribution) else codes

    def _find(self, params: Params) -> int:
        code = tuple(
            self._code_of[name][params[name]] if isinstance(dist, CategoricalDistribution) else int(params[name])
            for name, dist in self.space.items()
        )
        row = self._row.get(code)
        if row is None:
            choice = np.array([isinstance(dist, CategoricalDistribution) for dist in self.space.values()])
            gap = np.abs(self._codes - np.array(code)) / self._codes.max(axis=0)
            row = int(np.where(choice, gap > 0, gap).sum(axis=1).argmin())
        return row

    def observe(self, params: Params, epochs: int, rng: np.random.Generator) -> float:
        return float(rng.choice(self._scores[self._find(params)]))

    def regret(self, params: Params) -> float:
        return (float(self._truth[self._find(params)]) - self._best) / (self._median - self._best)


_VAL_ACCURACY = 1


@dataclass
class LCBench:
    """One task of LCBench as the YAHPO Gym surrogate, whose epochs are the fidelity; validation accuracy."""

    folder: Path
    task: str
    session: Any
    epochs: int = 52

    def __post_init__(self) -> None:
        self.name = f"lcbench_{self.task}"
        self._code = json.loads((self.folder / "encoding.json").read_text())["OpenML_task_id"][self.task]
        self.space: dict[str, BaseDistribution] = {
            "batch_size": IntDistribution(16, 512, log=True),
            "learning_rate": FloatDistribution(1e-4, 0.1, log=True),
            "momentum": FloatDistribution(0.1, 0.99),
            "weight_decay": FloatDistribution(1e-5, 0.1),
            "num_layers": IntDistribution(1, 5),
            "max_units": IntDistribution(64, 1024, log=True),
            "max_dropout": FloatDistribution(0.0, 1.0),
        }

    def _costs(self, points: Floats) -> Floats:
        """Points [n, 8], the epoch first, to costs [n]."""
        inputs = {
            "x_cat": np.full((len(points), 1), self._code, np.int32),
            "x_cont": points.astype(np.float32),
        }
        names = [i.name for i in self.session.get_inputs()]
        outputs = self.session.run(None, dict(zip(names, _ordered(names, inputs), strict=True)))[0]
        return -np.asarray(outputs, np.float64)[:, _VAL_ACCURACY]

    def _cost(self, params: Params, epochs: int) -> float:
        return float(self._costs(np.array([[epochs, *(float(params[name]) for name in self.space)]]))[0])

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """The best known and the median cost: over a Sobol sample, the best then improved by small steps."""
        encoding = Encoding(self.space)
        units = qmc.Sobol(len(encoding), scramble=True, rng=np.random.default_rng(0)).random_base2(13)
        costs = self._full(encoding, units)
        median = float(np.median(costs))
        rng = np.random.default_rng(1)
        for width in (0.2, 0.1, 0.05, 0.02, 0.01):
            top = units[np.argsort(costs)[:32]]
            steps = np.clip(top[None] + rng.normal(0, width, (32, *top.shape)), 0, 1).reshape(-1, len(encoding))
            units, costs = np.concatenate([units, steps]), np.concatenate([costs, self._full(encoding, steps)])
        return float(costs.min()), median

    def _full(self, encoding: Encoding, units: Floats) -> Floats:
        values = [encoding.values(unit) for unit in units]
        return self._costs(np.array([[self.epochs, *(float(v[name]) for name in self.space)] for v in values]))

    def observe(self, params: Params, epochs: int, rng: np.random.Generator) -> float:
        return self._cost(params, epochs)

    def regret(self, params: Params) -> float:
        best, median = self._scale
        return (self._cost(params, self.epochs) - best) / (median - best)


def _ordered(names: list[str], inputs: dict[str, Any]) -> list[Any]:
    return [next(value for name, value in inputs.items() if name in asked) for asked in names]


def lcbench(folder: Path, tasks: int) -> list[Problem]:
    """The first `tasks` tasks of a folder with `model.onnx` and `encoding.json`."""
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise SystemExit("--lcbench: needs onnxruntime (pip install onnxruntime)") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
    names = [name for name in json.loads((folder / "encoding.json").read_text())["OpenML_task_id"] if name != "#na#"]
    return [LCBench(folder, name, session) for name in names[:tasks]]
