"""One cell of the benchmark `outcome.py`: a whole study of one split, and what stands beside it, as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from measured import machine, versions
from outcome_no_hero import no_hero
from outcome_rows import DELIVERED, Row, loss_of, study_rows
from outcome_tutorial import SEEDS, retrained, search, tutorial

from lab.errors import LabError
from lab.record.folder import Record
from lab.spec.space import Space
from lab.spec.study import StudySpec, parse_spec
from lab.stages.from_bounds import space_of
from lab.study.budget import cost
from lab.study.pace import steps_of_epoch
from lab.study.study import Study
from lab.tasks.load import load_task
from lab.tasks.task import Task
from lab.training.ensemble import scores
from lab.training.trainer import steps_per_epoch

TPE, HYPERBAND = "Optuna TPE", "Optuna TPE + Hyperband"


@dataclass(frozen=True)
class Studied:
    """A complete study, through lab's public face."""

    study: Study
    cpu_s: float

    @property
    def spec(self) -> StudySpec:
        """With everything settled."""
        return self.study.spec

    @property
    def record(self) -> Record:
        return self.study.record

    @property
    def space(self) -> Space:
        """With the range that the range test has set."""
        return space_of(self.spec, self.record)

    @cached_property
    def task(self) -> Task:
        task = load_task(self.spec.task)
        assert isinstance(task, Task)  # workloads train models
        return task

    @property
    def both(self) -> float:
        """Examples of training and validation split together, as a multiple of the training split's."""
        train, valid = (len(self.task.data(split)[0]) for split in ("train", "valid"))
        return (train + valid) / train

    @cached_property
    def rows(self) -> list[Row]:
        steps = steps_per_epoch(len(self.task.data("train")[0]), self.spec.training())
        return study_rows(self.spec, self.record, steps, self.both)

    @property
    def epochs(self) -> float:
        """Everything that it has trained."""
        return next(row.epochs for row in self.rows if row.name == DELIVERED)

    def summary(self) -> dict[str, Any]:
        """What a cell says of its study."""
        task, spec = self.task, self.spec
        x, y = task.data("test")
        artefacts = {stage: self.record.artefact(stage) or {} for stage in ("bounds", "confirm")}
        again = scores(self.study.result.ensemble.predict(x), y, task.kind, task.metrics)
        return {
            "kind": task.kind,
            "metric": task.metric,
            "direction": task.direction,
            "examples": {split: len(task.data(split)[0]) for split in ("train", "valid", "test")},
            "trials": spec.search.trials,
            "epochs": spec.search.epochs,
            "unit": spec.final.epochs,
            "batch_size": spec.batch_size,
            "path": spec.execution.path,
            "suggestion": artefacts["bounds"].get("suggestion"),
            "params": artefacts["confirm"].get("chosen", {}).get("one_cycle", {}).get("params"),
            "predicted_again": {task.metric: again[task.metric], "loss": loss_of(again)},
            "commit": spec.provenance.get("commit"),
            "machine": machine(),
            "versions": versions("lab", "torch", "numpy", "scikit-learn", "optuna"),
        }


def run_study(spec: StudySpec, folder: Path) -> Studied:
    """Run a study to its end."""
    begin = time.process_time()
    study = Study.from_spec(spec, folder)
    study.run()
    return Studied(study, time.process_time() - begin)


def outcome(spec: StudySpec, folder: Path) -> dict[str, Any]:
    """What the study hands over, its controls and baselines, no hero, and the tutorial."""
    studied = run_study(spec, folder)
    content = studied.summary()
    cpu_s = {"study": studied.cpu_s}
    rows = list(studied.rows)
    units = studied.epochs / studied.spec.final.epochs
    rate = float(content["suggestion"])
    sides: dict[str, Callable[[], list[Row]]] = {
        "no hero": lambda: no_hero(studied.spec, studied.task, rate, units, studied.both),
        "tutorial": lambda: tutorial(studied.spec, studied.task, studied.space),
    }
    for name, side in sides.items():
        begin = time.process_time()
        try:
            rows += side()
        except LabError as error:
            rows.append(Row(name, {}, 0.0, failed=str(error)))
        cpu_s[name] = time.process_time() - begin
    return content | {"cpu_s": {k: round(v, 1) for k, v in cpu_s.items()}, "rows": [asdict(row) for row in rows]}


def by_budget(spec: StudySpec, percent: int, folder: Path) -> dict[str, Any]:
    """What a study hands over within a share of its epochs, and what Optuna finds for as many as it trained, its models
    of the final length included. Optuna trains as long as the spec says; the study may train shorter."""
    epochs = percent / 100 * cost(uncompared(spec), steps_of_epoch(spec))
    studied = run_study(parse_spec(spec.model_dump() | {"budget": f"{epochs:.0f} epochs"}), folder)
    content = studied.summary()
    task = studied.task
    y = task.data("test")[1]
    last = SEEDS * spec.final.epochs
    rows = [row for row in studied.rows if row.name == DELIVERED]
    make: Callable[..., optuna.pruners.BasePruner] = optuna.pruners.HyperbandPruner  # which has no types
    pruners = {TPE: None, HYPERBAND: make(min_resource=1, max_resource=spec.search.epochs)}
    for name, pruner in pruners.items():
        chosen = search(
            spec,
            task,
            studied.space,
            lambda trials, epochs: trials > 0 and epochs + spec.search.epochs + last > studied.epochs,
            pruner,
        )
        mean = retrained(spec, task, chosen.params, SEEDS).mean(dim=0)
        rows.append(Row(name, scores(mean, y, task.kind, task.metrics), chosen.epochs + last, last))
    said = {"budget": percent, "unit": spec.final.epochs, "cpu_s": {"study": round(studied.cpu_s, 1)}}
    return content | said | {"rows": [asdict(row) for row in rows]}


def uncompared(spec: StudySpec) -> StudySpec:
    """The study without the trainings that are only to be compared with."""
    return spec.changed(final={"controls": "none"})
