"""The threads of the libraries that a search computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def on_one_thread() -> AbstractContextManager[object]:
    """Let no product be shared between threads meanwhile.

    Sums in another order differ in their last digits: what is proposed must not depend on the process's threads.
    """
    controller: AbstractContextManager[object] = _controller().limit(limits=1)
    return controller


@cache
def _controller() -> ThreadpoolController:
    """The libraries that are loaded; to find them out takes a seventh of a proposal."""
    import scipy.linalg  # noqa: F401 - so that they are
    import sklearn.tree  # noqa: F401

    return ThreadpoolController()
