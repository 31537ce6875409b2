"""lab: learning-rate bounds, cycles, weight decay and dropout for your model, and the ensemble trained that way.

Names are loaded when they are first used, so that `import lab` needs neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lab.training.arithmetic import settle_arithmetic
from lab.training.waiting import settle_waiting

if TYPE_CHECKING:
    from lab import errors, schedules, search
    from lab.errors import LabError
    from lab.spec.space import Choice, Float, FromBounds, Int, Space
    from lab.spec.trial import Trial
    from lab.study.activations import activation_health
    from lab.study.callbacks import StageEnd, TrialEnd
    from lab.study.fit import fit_one_cycle
    from lab.study.range_test import lr_range
    from lab.study.study import Study
    from lab.tasks.images.task import Images
    from lab.tasks.own_loop import OwnLoop
    from lab.tasks.ratings.task import Ratings
    from lab.tasks.several_targets import SeveralTargets
    from lab.tasks.table.task import Table
    from lab.tasks.task import Task, trial_function
    from lab.tasks.text.task import Text
    from lab.training.lsuv import lsuv

__version__ = "0.1.0"

_HOME = {
    "Study": "lab.study.study",
    "OwnLoop": "lab.tasks.own_loop",
    "TrialEnd": "lab.study.callbacks",
    "StageEnd": "lab.study.callbacks",
    "activation_health": "lab.study.activations",
    "lr_range": "lab.study.range_test",
    "lsuv": "lab.training.lsuv",
    "fit_one_cycle": "lab.study.fit",
    "Space": "lab.spec.space",
    "Float": "lab.spec.space",
    "Int": "lab.spec.space",
    "Choice": "lab.spec.space",
    "FromBounds": "lab.spec.space",
    "LabError": "lab.errors",
    "Task": "lab.tasks.task",
    "Images": "lab.tasks.images.task",
    "Ratings": "lab.tasks.ratings.task",
    "SeveralTargets": "lab.tasks.several_targets",
    "Table": "lab.tasks.table.task",
    "Text": "lab.tasks.text.task",
    "Trial": "lab.spec.trial",
    "trial_function": "lab.tasks.task",
}
_MODULES = ("errors", "schedules", "search")

__all__ = [
    "Choice",
    "Float",
    "FromBounds",
    "Images",
    "Int",
    "LabError",
    "OwnLoop",
    "Ratings",
    "SeveralTargets",
    "Space",
    "StageEnd",
    "Study",
    "Table",
    "Task",
    "Text",
    "Trial",
    "TrialEnd",
    "activation_health",
    "errors",
    "fit_one_cycle",
    "lr_range",
    "lsuv",
    "schedules",
    "search",
    "trial_function",
]


# Before anything of lab imports torch.
settle_arithmetic()
settle_waiting()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"lab.{name}")
    raise AttributeError(f"module 'lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
