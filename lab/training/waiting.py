"""How long threads that share an operation look for each other before they sleep, settled before PyTorch is imported.

By itself GNU OpenMP lets a thread that is early look for the others 300,000 times, Intel's for 200 ms: where other
programs work on the machine, the thread that is looked for has no core to run on, since the looking takes it; so it is
where a container has fewer cores than it sees. Threads that sleep at once take a moment to wake each time. Measured on
2 cores and 2 threads, medians of 3 runs with the machine to themselves, and the range of 3 runs beside two other
programs, in ms a step:

=====================  =============================  ===========================
looks                  CNN, MLP, LSTM, idle           beside two programs
=====================  =============================  ===========================
as long as it may      31.6, 1.81, 6.3                75-282, 2.0-193, 16-1,100
not at all             37.5, 4.26, 19.1               68-117, 3.4-8.9, 11-42
5,000 times (here)     40.3, 2.11, 6.8                72-98, 5.3-7.2, 21-37
=====================  =============================  ===========================

Without torch: this is imported by `import lab`.
"""

from __future__ import annotations

import os
from types import MappingProxyType

SETTINGS = MappingProxyType({"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "1"})
"""The environment variables that GNU's and Intel's OpenMP read as PyTorch is imported, in each process. The second is
in milliseconds, the least that all its versions read; it was not measured."""
OF_ALL = "OMP_WAIT_POLICY"
"""The one that any OpenMP reads."""


def waiting() -> dict[str, str | None]:
    """What this process's environment asks for."""
    return {name: os.environ.get(name) for name in (OF_ALL, *SETTINGS)}


def settle_waiting() -> None:
    """Let threads look for each other for a moment, unless the user's environment asks for something already."""
    if not any(waiting().values()):
        os.environ.update(SETTINGS)
