"""How threads that share an operation wait for each other, settled before PyTorch is imported.

OpenMP lets a thread that is early look for the others without a pause, as if each had a core to itself. Where other
programs work on the machine, the thread that is looked for has none to run on, since the looking takes it. Measured on
2 cores beside two other programs, 2 threads: a step of an LSTM took 1.6 s so, and .1 s with threads that sleep.

Without torch: this is imported by `import lab`.
"""

from __future__ import annotations

import os

SETTING = "OMP_WAIT_POLICY"
"""The environment variable that OpenMP reads as PyTorch is imported, in each process."""


def settle_waiting() -> None:
    """Let threads sleep while they wait, unless the user's environment asks for something already."""
    os.environ.setdefault(SETTING, "PASSIVE")
