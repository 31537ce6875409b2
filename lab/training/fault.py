"""Why a trial cannot go on, where the user's loss or metric raised on what its model gave."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lab.spec.trial import Outcome
from lab.training.device import check_device
from lab.training.failure import error_text
from lab.training.memory import out_of_memory


@dataclass(frozen=True)
class Fault:
    """The end of one trial, with its reason."""

    outcome: Outcome
    detail: str


def fault_of(error: Exception, output: Tensor, where: str) -> Fault:
    """Diverged where a trial's outputs [n, ...] are no numbers, which many losses and metrics refuse; else the user's
    code has failed.

    Raises:
        DeviceLost, and the error itself where memory has run out: no matter of this trial.
    """
    if out_of_memory(error):
        raise error
    check_device()
    if not output.isfinite().all():
        said = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
        return Fault(Outcome.DIVERGED, f"outputs not finite {where} ({said})")
    return Fault(Outcome.FAILED, error_text(error))
