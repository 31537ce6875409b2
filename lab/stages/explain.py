"""Stage 3: a forest as the model of the response: what matters, how it acts, and how far to believe it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lab.assignment import Outcome
from lab.execution.engine import Engine
from lab.ledger import distributions
from lab.record import Record
from lab.spec import StudySpec
from lab.stages.jobs import space_of, task_of
from lab.surrogate.effects import edge, importances, partial_dependence
from lab.surrogate.encode import Encoding
from lab.surrogate.forest import Forest
from lab.trials import TrialRow, read_trials

Floats = NDArray[np.float64]

_BELIEVE_FROM = 0.2
"""Out-of-bag R2 below which importances are withheld: they would describe the forest's errors."""


def run(spec: StudySpec, record: Record, engine: Engine) -> dict[str, Any]:
    """Fit the forest to the explore stage's trials; trains nothing."""
    space = space_of(spec, record)
    encoding = Encoding({name: dist for name, dist in distributions(space).items() if not dist.single()})
    direction = task_of(spec).direction
    rows = [r for r in read_trials(record, "explore", spec.store) if _teaches(r)]
    if len(rows) < 4 or not len(encoding):
        reason = "fewer than 4 trials" if len(encoding) else "the space is a single point"
        return record.write("explain", {"withheld": reason, "trials": len(rows)})
    units = encoding.units([row.params for row in rows])
    features = encoding.features(units)
    task = task_of(spec)
    fit = _fit(task.metric, _scores(rows, direction), direction, features, spec.seed)
    if not fit.believed:
        # A score that saturates (accuracy on few examples) is mostly noise where the loss still tells trials apart.
        losses = _log_losses(rows)
        by_loss = None if losses is None else _fit("log(valid_loss)", losses, "minimize", features, spec.seed)
        fit = by_loss if by_loss is not None and by_loss.believed else fit
    forest = fit.forest
    effects = [
        partial_dependence(forest, encoding, name, np.nan_to_num(units, nan=-1), seed=spec.seed)
        for name in encoding.names
    ]
    at_edge = {e.name: edge(e, encoding, fit.direction) for e in effects} if fit.believed else {}
    spread = forest.predict(features).std
    artefact = {
        "trials": len(rows),
        "diverged": sum(row.outcome is Outcome.DIVERGED for row in rows),
        "explains": fit.what,
        "instead_of": None if fit.what == task.metric else task.metric,
        "out_of_bag_r2": fit.r2,
        "believe_from": _BELIEVE_FROM,
        "withheld": None if fit.believed else _why_withheld(fit.r2),
        "importances": importances(forest, encoding, seed=spec.seed) if fit.believed else None,
        "tree_std": {"median": float(np.median(spread)), "max": float(spread.max())},
        "edges": {name: side for name, side in at_edge.items() if side},
        "effects": [asdict(e) | {"log": bool(getattr(encoding.distributions[e.name], "log", False))} for e in effects],
    }
    return record.write("explain", artefact)


@dataclass(frozen=True)
class _Fit:
    """A forest, what it explains, and how well."""

    what: str
    direction: str
    forest: Forest
    r2: float | None

    @property
    def believed(self) -> bool:
        return self.r2 is not None and self.r2 >= _BELIEVE_FROM


def _fit(what: str, target: Floats, direction: str, features: Floats, seed: int) -> _Fit:
    forest = Forest(seed).fit(features, target)
    return _Fit(what, direction, forest, forest.out_of_bag_r2())


def _why_withheld(r2: float | None) -> str:
    if r2 is None:
        return "all trials score the same"
    return f"out-of-bag R2 {r2:.2f} is below {_BELIEVE_FROM}: the forest cannot tell good trials from bad ones"


def _teaches(row: TrialRow) -> bool:
    return row.outcome in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED)


def _scores(rows: list[TrialRow], direction: str) -> Floats:
    """Scores [n]; a diverged trial gets the worst completed score, a pruned one its last."""
    known = [_score(row) for row in rows]
    good = [score for score in known if score is not None]
    worst = (min if direction == "maximize" else max)(good, default=0.0)
    return np.array([worst if score is None else score for score in known])


def _log_losses(rows: list[TrialRow]) -> Floats | None:
    """Logarithm of the final validation losses [n], diverged ones as the worst; None where they are not all known."""
    losses = [row.metrics.get("valid_loss") for row in rows if row.outcome is not Outcome.DIVERGED]
    known = [loss for loss in losses if loss is not None and loss > 0]
    if not known or len(known) < len(losses):
        return None
    worst = max(known)
    return np.log([row.metrics.get("valid_loss") or worst for row in rows])


def _score(row: TrialRow) -> float | None:
    if row.outcome is Outcome.PRUNED and row.curve:
        return row.curve[max(row.curve)]
    return row.score
