"""scikit-learn's estimators as bytes and back: skops, never pickle, since a study folder may come from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.errors import RecordError

_HARMLESS = frozenset(
    {
        "functools.partial",  # of the next, in gradient boosting; what it holds is looked at as well
        "sklearn.utils.validation.check_array",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
"""What trees are made of, beside the types that skops takes for harmless by itself."""


def pack_estimator(estimator: Any) -> bytes | None:
    """A trained estimator as a skops file; None where it holds what `load_estimator` could not make again."""
    from skops.io import dumps, get_untrusted_types

    try:
        content: bytes = dumps(estimator)
    except Exception:  # of whatever a user's estimator holds
        return None
    return content if _HARMLESS.issuperset(get_untrusted_types(data=content)) else None


def load_estimator(path: Path) -> Any:
    """What `pack_estimator` gave.

    Raises:
        RecordError: the file is missing, damaged, or holds other types than scikit-learn's.
    """
    from skops.io import get_untrusted_types, loads

    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        foreign = sorted(set(get_untrusted_types(data=content)) - _HARMLESS)
        if not foreign:
            return loads(content, trusted=sorted(_HARMLESS))
    except Exception as error:  # of whatever bytes there are, or of another version of scikit-learn
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RecordError(f"{path}: is no skops file of this scikit-learn ({reason})") from error
    raise RecordError(f"{path}: holds {foreign[0]}, which is not made again: it may run code")
