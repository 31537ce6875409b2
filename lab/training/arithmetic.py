"""The arithmetic of PyTorch's matrix products, settled before the first of them: equal work gives equal bits.

On processors that are not Intel's, MKL picks another kernel for another alignment, so that a trial's last bits would
depend on the row of the stacked model in which it lies. MKL's conditional numerical reproducibility ends that. Measured
on an AMD EPYC, 1,500 random products in each precision and on 1 to 8 threads: 6 % of float32's and 10 % of float64's
differ between two rows without it, none with it; `STRICT` changes nothing more.

Without torch: this is imported by `import lab`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from pathlib import Path

SETTING = "MKL_CBWR"
"""The environment variable that MKL reads at its first product, in each process."""
_REPRODUCIBLE = "AUTO"
"""The best branch of the processor at hand, as MKL itself chooses it. A branch by name is no better: MKL offers those
on Intel's processors only, and takes `AUTO` elsewhere (oneMKL Developer Guide, "Specifying Code Branches")."""
BRANCHES = ("AUTO", "COMPATIBLE", "AVX2", "AVX512", "AVX512_E1")
"""What MKL takes, each also with `,STRICT` behind it; for any other word it takes `AUTO` and says nothing."""
_OLD_BRANCHES = ("SSE2", "SSE3", "SSSE3", "SSE4_1", "SSE4_2", "AVX", "AVX512_MIC", "AVX512_MIC_E1")

_ALL_OPTIONS = -1
_OFF, _COMPATIBLE = 1, 3
_STRICT_BIT = 0x10000


def settle_arithmetic() -> None:
    """Ask MKL for reproducible products, unless the user's environment asks for something already.

    Warns:
        RuntimeWarning: PyTorch has computed in this process already, and MKL no longer listens.
    """
    if not os.environ.get(SETTING):
        os.environ[SETTING] = _REPRODUCIBLE
    if "torch" in sys.modules and branch_in_force() == "off":
        warnings.warn(
            f"PyTorch has computed before lab was imported, so {SETTING} cannot be set in this process any more: "
            f"the last bits of a trial may depend on which trials train beside it; import lab first, or start "
            f"Python with {SETTING}={_REPRODUCIBLE}",
            RuntimeWarning,
            stacklevel=3,
        )


def inherited() -> dict[str, str]:
    """The variables that processes elsewhere need in order to compute as this one does."""
    return {SETTING: os.environ[SETTING]} if os.environ.get(SETTING) else {}


def branch_in_force() -> str | None:
    """What MKL uses in this process: `off`, `compatible` or `reproducible`, with `, strict`; None where it cannot say.

    The first call makes MKL read its environment. Imports torch.
    """
    import torch

    if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call] # torch's own
        return None
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    with contextlib.suppress(OSError, AttributeError):  # another platform's build, or one that hides MKL's symbols
        value = int(ctypes.CDLL(str(library)).mkl_serv_cbwr_get(_ALL_OPTIONS))
        branch = {_OFF: "off", _COMPATIBLE: "compatible"}.get(value & ~_STRICT_BIT, "reproducible")
        return branch + (", strict" if value & _STRICT_BIT else "")
    return None


def describe_setting(setting: str) -> str:
    """What a value of the setting does, in a few words; names what MKL does not know."""
    branch, _, strict = setting.removeprefix("BRANCH=").partition(",")
    if branch not in BRANCHES + _OLD_BRANCHES or strict not in ("", "STRICT"):
        return f"{setting!r} is unknown to MKL, which takes AUTO for it; choices: {', '.join(BRANCHES)}"
    if branch == "COMPATIBLE":
        return "COMPATIBLE is the same on every processor and several times slower; AUTO is enough on one kind"
    return setting
