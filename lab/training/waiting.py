"""How threads that share an operation wait for each other, settled before PyTorch is imported.

OpenMP lets a thread that is early look for the others without a pause, as if each had a core to itself. Where other
programs work on the machine, the thread that is looked for has none to run on, since the looking takes it; so it is
where a container has fewer cores than it sees. Measured on 2 cores and 2 threads, steps of an LSTM and of an MLP:
beside two other programs 200 to 1,550 ms and 22 to 300 ms so, 80 to 150 and 10 to 20 with threads that sleep. With the
machine to themselves, medians of 5: 51 and 5.6 ms so, 57 and 5.8 with threads that sleep, which take a moment to wake.

Without torch: this is imported by `import lab`.
"""

from __future__ import annotations

import os

SETTING = "OMP_WAIT_POLICY"
"""The environment variable that OpenMP reads as PyTorch is imported, in each process."""


def settle_waiting() -> None:
    """Let threads sleep while they wait, unless the user's environment asks for something already."""
    os.environ.setdefault(SETTING, "PASSIVE")
