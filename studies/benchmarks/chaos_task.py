"""Digits with epochs that take a while without work, and a count of every epoch that was trained anywhere."""

from __future__ import annotations

import os
import time
from types import MappingProxyType

from torch import Tensor

from lab.tasks.contract import accuracy
from lab.tasks.digits import Digits


def counted(output: Tensor, target: Tensor) -> Tensor:
    """Accuracy; called once for each trial and epoch."""
    time.sleep(float(os.environ.get("CHAOS_SLEEP_S", "0")))
    path = os.environ.get("CHAOS_COUNT")
    if path:
        with open(path, "ab") as file:
            file.write(b".")
    return accuracy(output, target)


class SlowDigits(Digits):
    """See the module."""

    metrics = MappingProxyType({"accuracy": counted})
