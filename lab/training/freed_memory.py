"""Keeping what is freed for what is asked for next.

A step frees all that it computed and the next asks for the same again. glibc gives large blocks back to the kernel at
once, and the kernel must then clear every page anew: 5 to 17 % of a step of a small net on a CPU.
"""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Their numbers in glibc's malloc.h."""
_NEVER = 2**31 - 1
_LARGE_BYTES = 32 * 2**20
"""Blocks from here on have pages of their own still; glibc's own threshold ends there when it has grown."""


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees; where another allocator or the user's own settings rule, nothing.

    It then holds about the most that it ever had in use; more where ever larger blocks are asked for and small ones
    that stay lie between, which training, whose steps are alike, does not do.
    """
    if "malloc" in os.environ.get("GLIBC_TUNABLES", "") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_TRIM_THRESHOLD, _NEVER)
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
