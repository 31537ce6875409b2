"""How the models of a second round are trained, on labelled and pseudo-labelled rows in their shares of a batch.

Shapes: n labelled rows, m others, c classes or labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.spec.space import Params
from lab.spec.trial import Trial, derive_seed
from lab.stages.second_round import Way
from lab.study.aside import OTHER_OUTPUTS, Aside, Judged, judged, together
from lab.study.progress import Display

if TYPE_CHECKING:
    from torch import Tensor

    from lab.spec.study import StudySpec
    from lab.stages.predictor import Ensemble
    from lab.tasks.task import Data, Task

NAME = "pseudo-label"
HARD, SOFT, LABELS = "the labels it is sure of", "its probabilities", "labels alone, for as many steps"
STAGES = {HARD: "hard", SOFT: "soft", LABELS: "labels"}
"""Under what the models of each way are kept until it is decided."""


@dataclass(frozen=True)
class Plan:
    """What is trained."""

    params: Params
    epochs: int
    share: float
    confidence: float | None
    seeds: int


@dataclass(frozen=True)
class Candidate:
    """The models of a way, trained on the training rows."""

    name: str
    epochs: int
    examples: int
    judged: Judged

    def way(self, test: dict[str, float] | None = None) -> Way:
        return Way(self.name, self.epochs, self.examples, self.judged.loss, test)


class SecondTraining:
    """Trains second rounds in a folder of their own."""

    def __init__(
        self, spec: StudySpec, record: Record, task: Task, plan: Plan, x: Tensor, work: Path, display: Display
    ) -> None:
        self.spec, self.record, self.task, self.plan, self._x = spec, record, task, plan, x
        self._aside = Aside(spec, record, work, display, name=NAME, width=plan.seeds, epochs=plan.epochs)
        self.unlabelled, self.pseudo_labelled, self.trainings = len(x), 0, 0

    def search(self, teacher: Ensemble) -> list[Candidate]:
        """Every way, on the training rows; the labels alone at last."""
        said = self._said(teacher)
        labelled, valid = self.task.data("train"), self.task.data("valid")
        candidates: list[Candidate] = []
        for name in ways_of(self.task):
            mixed, epochs = self._mixed(name, labelled, *said, teacher.thresholds)
            candidates.append(self._candidate(name, self._task(name, mixed, valid), len(mixed[1]), epochs))
        one = candidates[0]
        epochs = max(round(one.epochs * one.examples / len(labelled[1])), 1)
        candidates.append(self._candidate(LABELS, self.task, len(labelled[1]), epochs))
        return candidates

    def again(self, one: Candidate, teacher: Ensemble) -> Ensemble:
        """Models trained like another way's, on training and validation rows, as many as a refit has."""
        from lab.tasks.task import TRAIN_AND_VALID, joined

        alone, valid = one.name == LABELS, self.task.data("valid")
        labelled = joined(map(self.task.data, TRAIN_AND_VALID))
        task = self.task
        if not alone:
            mixed, _ = self._mixed(one.name, labelled, *self._said(teacher), teacher.thresholds)
            task = self._task(one.name, mixed, valid)
        seeds = range(self.plan.seeds, self.plan.seeds * (1 + self.spec.final.refit_seeds))
        trials = [self._trial(seed, one.epochs) for seed in seeds]
        trained = self._aside.train(f"{STAGES[one.name]}_again", task, trials, with_valid=alone)
        self.trainings += len(trials)
        model = one.judged.model
        return together(self.task, [run for _, run in trained], model.temperature, model.thresholds)

    def _candidate(self, name: str, task: Task, examples: int, epochs: int) -> Candidate:
        trials = [self._trial(seed, epochs) for seed in range(self.plan.seeds)]
        trained = self._aside.train(STAGES[name], task, trials)
        self.trainings += len(trials)
        return Candidate(name, epochs, examples, judged(self.task, [run for _, run in trained]))

    def _trial(self, seed: int, epochs: int) -> Trial:
        return Trial(self.plan.params, derive_seed(self.spec.seed, NAME, seed), epochs, keep=True)

    def _said(self, teacher: Ensemble) -> Data:
        """The inputs that a teacher is sure enough of, and what it predicts of them.

        Raises:
            SpecError: there are none.
        """
        said = teacher.predict(self._x)
        if said.ndim > 2 and teacher.kind != "regression":
            raise StudyError(f"{NAME}: each part of an example has a class of its own here, which nobody is taught yet")
        if teacher.kind == "regression" and said.shape[1:] != self.task.data("valid")[1].shape[1:]:
            raise StudyError(f"{NAME}: {OTHER_OUTPUTS}")
        sure = said.reshape(len(said), -1).isfinite().all(dim=1)
        least = self.plan.confidence
        if least is not None:
            surest = confidences(said, teacher.kind)
            sure &= surest >= least
            if not sure.any():
                best = float(surest.nan_to_num(nan=0.0).max())
                raise SpecError(
                    "--confidence",
                    f"{least} is above that of each of the {len(said)} examples; the surest is said with {best:.3g}",
                )
        if not sure.any():
            raise StudyError(f"{NAME}: what the study predicts of these examples are no finite numbers")
        self.pseudo_labelled = int(sure.sum())
        return self._x[sure], said[sure]

    def _mixed(
        self, name: str, labelled: Data, x: Tensor, said: Tensor, thresholds: tuple[float, ...]
    ) -> tuple[Data, int]:
        """Labelled and pseudo-labelled rows in their shares of a batch, and for how many epochs."""
        import torch
        from torch import nn

        lx, ly = labelled
        kind = self.task.kind
        if name == HARD:
            targets = hard(said, kind, thresholds).reshape(-1, *ly.shape[1:]).to(ly.dtype)
        else:
            targets = said.float()
            width = said.shape[1]
            ly = nn.functional.one_hot(ly, width).float() if kind == "classification" else ly.float()
        share, epochs = self.plan.share, self.plan.epochs
        most = max(int(epochs * len(ly) * share / (1 - share)), 1)  # as many as are seen once
        if len(targets) > most:
            random = np.random.default_rng(derive_seed(self.spec.seed, NAME, "rows"))
            rows = torch.from_numpy(np.sort(random.choice(len(targets), most, replace=False)))
            x, targets = x[rows], targets[rows]
        own, others = copies(len(ly), len(targets), share)
        mixed = torch.cat([lx] * own + [x] * others), torch.cat([ly] * own + [targets] * others)
        return mixed, max(round(epochs * len(ly) / (1 - share) / len(mixed[1])), 1)

    def _task(self, name: str, mixed: Data, valid: Data) -> Task:
        from lab.tasks.other_data import OtherData, OtherTargets

        if name == HARD:
            return OtherData(self.task, mixed, valid)
        return OtherTargets(self.task, mixed, valid, mixed[1].shape[1])


def ways_of(task: Task) -> tuple[str, ...]:
    """How a task can learn what a teacher says: as labels, and as probabilities where there are some and it takes
    them."""
    from lab.tasks.task import defines

    own = defines(task, "loss") or defines(task, "augment")
    return (HARD, SOFT) if task.kind != "regression" and (task.soft_targets or not own) else (HARD,)


def confidences(said: Tensor, kind: str) -> Tensor:
    """How sure a prediction [m, c] of probabilities is, [m]: that of its class, or of the least sure of its labels."""
    return said.amax(dim=1) if kind == "classification" else said.maximum(1 - said).amin(dim=1)


def hard(said: Tensor, kind: str, thresholds: tuple[float, ...]) -> Tensor:
    """What is predicted [m, c] as targets: classes [m], labels [m, c] of 0 and 1, or the values."""
    if kind == "classification":
        return said.argmax(dim=1)
    if kind == "regression":
        return said
    return (said > (said.new_tensor(thresholds) if thresholds else 0.5)).to(said.dtype)


def copies(labelled: int, others: int, share: float) -> tuple[int, int]:
    """How often each labelled and each other row stands among those of an epoch, so that the others' share is right.

    >>> copies(100, 900, 0.5), copies(900, 100, 0.5), copies(100, 120, 0.5)
    ((9, 1), (1, 9), (1, 1))
    """
    ratio = others * (1 - share) / (share * labelled)
    return max(round(ratio), 1), max(round(1 / ratio), 1)
