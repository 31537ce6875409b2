"""A second round of final models, on labelled examples and on others whose labels the first round has said.

Pseudo-labels (Lee 2013, Pseudo-Label: the simple and efficient semi-supervised learning method) are the classes that an
ensemble is sure of; soft ones are its probabilities, learned by nets with dropout and augmentation, which the teacher
predicts without (Xie et al. 2020, Self-training with noisy student, arXiv 1911.04252). Beside them nets learn the
labels alone for as many steps. The validation rows decide whether the second round is handed out in place of the first;
the test rows are looked at when that is decided.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.spec.folder_names import PSEUDO, side_folder
from lab.stages import confirm, refit
from lab.stages.job import with_cycles
from lab.stages.second_round import SecondRound, Way, second_round_path, write_second_round
from lab.study.aside import Judged, learned_by_folds, losses_of
from lab.study.progress import Display
from lab.study.same_data import require_same
from lab.study.second_training import NAME, STAGES, Candidate, Plan, SecondTraining
from lab.study.stop import stop_on_interrupt
from lab.study.study import Study

if TYPE_CHECKING:
    from torch import Tensor

    from lab.stages.predictor import Ensemble

FIRST = "the first round"
CONFIDENCE, SHARE = 0.9, 0.5
_SHARES = 0.05, 0.95
"""Rows of the other kind are repeated until the share is right: nearer to 0 or 1 they would fill the memory."""
_FEWEST_SEEDS = 2
_ERRORS = 2.0
"""Standard errors of the validation loss's gain that the second round must have: what is handed out changes once, and
may change back by no further look."""


def pseudo_label(
    study: Study,
    unlabelled: Path,
    *,
    confidence: float | None = None,
    share: float = SHARE,
    epochs: int | None = None,
    quiet: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> SecondRound:
    """Train a second round in this process, and let the study hand it out where the validation rows say that it is
    better. What is interrupted goes on when it is called again alike; a further call puts its own in this one's place.

    Args:
        unlabelled: examples as `lab predict` reads them; if they hold targets, these are not looked at.
        confidence: from which probability on a prediction is a label; of several labels that of the least sure. None:
            0.9. Values have none.
        share: that of pseudo-labelled examples in a batch, on average.
        epochs: passes over the labelled examples; None: those of the final models.
        say: is told what is odd about the file.

    Raises:
        SpecError: a share outside of .05 to .95, an impossible confidence, or no example is predicted as surely.
        RecordError: another user has begun the study, or it is not finished.
        TaskError: the file is not read, or holds nothing that the study learned from.
        StudyError: the study has folds, or each part of an example has a class of its own, or nothing completed.
    """
    from lab.stages.predictor import Ensemble

    if not _SHARES[0] <= share <= _SHARES[1]:
        raise SpecError("--share", f"{share} is not from {_SHARES[0]} to {_SHARES[1]}")
    if confidence is not None and not 0 <= confidence < 1:
        raise SpecError("--confidence", f"{confidence} is not a probability below 1")
    study.require_own()
    spec, record = study.spec, study.record
    confirmed = confirm.STAGE.need(record)
    handed, chosen = (make(spec, record) for make in (Ensemble.first_round, Ensemble.chosen))
    task = handed.task
    if task.kind == "regression" and confidence is not None:
        raise SpecError("--confidence", "is for classes and labels; values are predicted here, of which all are used")
    if learned_by_folds(spec, task):
        raise StudyError(f"{NAME}: a study with folds has learned from all validation rows; none is left to decide by")
    require_same(task, record)
    if not unlabelled.exists():
        raise SpecError("--unlabelled", f"{unlabelled} does not exist")
    inputs = handed.read(unlabelled)
    for note in inputs.notes:
        say(f"{unlabelled}: {note}")
    if not len(inputs.x):
        raise SpecError("--unlabelled", f"{unlabelled} holds no example")
    plan = Plan(
        with_cycles(confirmed.chosen.one_cycle.params, 1),
        epochs or spec.final.epochs,
        share,
        None if task.kind == "regression" else (CONFIDENCE if confidence is None else confidence),
        max(spec.final.seeds, _FEWEST_SEEDS),
    )
    with record.driver_lock(), Display(quiet) as display, stop_on_interrupt(display):
        work = record.folder / side_folder(PSEUDO, repr((plan, spec.seed, _digest(inputs.x))))
        round_ = SecondTraining(spec, record, task, plan, inputs.x, work, display)
        candidates = round_.search(chosen)
        second = _decided(round_, candidates, chosen, handed, unlabelled.name, refit.STAGE.if_any(record) is not None)
        _put(record, second, work)
    return second


def _digest(x: Tensor) -> str:
    """Inputs as a few letters: another file is another question."""
    from lab.tasks.transfer.features import digest_of

    return digest_of(x)


def _decided(
    round_: SecondTraining, candidates: list[Candidate], chosen: Ensemble, handed: Ensemble, source: str, refitted: bool
) -> SecondRound:
    """The second round beside the first, scored on the test rows once it is decided."""
    from lab.stages.diagnose import diagnose
    from lab.stages.diagnostics import Example
    from lab.stages.examples import telling_examples
    from lab.stages.heat_maps import with_heat_maps
    from lab.stages.predicts import as_thresholds
    from lab.tasks.beside import Beside

    task = round_.task
    xv, yv = task.data("valid")
    first = Judged(chosen, losses_of(task, chosen.predict(xv), yv))
    *others, alone = candidates
    best = min(others, key=lambda one: one.judged.loss)
    kept, why = _surely_better(first, [one.judged for one in others], best.judged, alone.judged)
    models = {one.name: round_.again(one, handed) if refitted else one.judged.model for one in (best, alone)}
    x, y = task.data("test")
    predictions = {name: model.predict(x) for name, model in models.items()}
    test = {name: model.scores(predictions[name], y) for name, model in models.items()}
    model = models[best.name]
    prediction = predictions[best.name]
    none: dict[str, tuple[Example, ...]] = {}
    beside, thresholds = Beside(), as_thresholds(model.thresholds, prediction)
    examples = beside.made("examples", lambda: telling_examples(task, prediction, y, thresholds), none)
    before = examples
    examples = beside.made("heat maps", lambda: with_heat_maps(task, model.folder, model.members, x, before), before)
    return SecondRound(
        source=source,
        unlabelled=round_.unlabelled,
        pseudo_labelled=round_.pseudo_labelled,
        confidence=round_.plan.confidence,
        share=round_.plan.share,
        metric=task.metric,
        first=Way(FIRST, 0, 0, first.loss, handed.scores(handed.predict(x), y)),
        ways=tuple(one.way(test.get(one.name)) for one in candidates),
        chosen=best.name,
        kept=kept,
        why=why,
        trainings=round_.trainings,
        members=model.members if kept else (),
        temperature=model.temperature,
        thresholds=model.thresholds,
        test=test[best.name],
        examples=examples,
        diagnostics=diagnose(task, prediction, y, beside, thresholds, round_.spec.seed),
    )


def _surely_better(first: Judged, others: list[Judged], best: Judged, alone: Judged) -> tuple[bool, str]:
    """Whether the best way of the second round is handed out, and why."""
    import torch

    from lab.training.ensemble import surely_gains

    gains = torch.stack([first.losses - one.losses for one in others]).double()
    gain = gains[others.index(best)]
    error = float(gain.std()) / len(gain) ** 0.5
    why = f"it gains {float(gain.mean()):+.4g} +- {error:.2g} of validation loss on {len(gain)} rows"
    if not surely_gains(gains, _ERRORS):
        return False, f"{why}, which is not above {_ERRORS:g} standard errors"
    if best.loss < alone.loss:
        return True, why
    return False, f"{why}, and as many steps on the labels alone gain {first.loss - alone.loss:+.4g}"


def _put(record: Record, second: SecondRound, work: Path) -> None:
    """Put a second round into the study. Interrupted on the way, the first one is handed out, and the same command goes
    on: what was trained stays until all is written."""
    with contextlib.suppress(FileNotFoundError):
        second_round_path(record).unlink()
    shutil.rmtree(record.second_folder, ignore_errors=True)
    if second.kept:
        stage = STAGES[second.chosen]
        again = work / f"{stage}_again"
        shutil.copytree(again if again.is_dir() else work / stage, record.second_folder)
    write_second_round(record, second)
    shutil.rmtree(work)
