"""What is told of classes and labels before anything trains: their shares, thin ones, and names that are alike.

Numbers are each row's class as a number of the names [n], or its labels of 0 and 1 [n, c].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW_EXAMPLES = 5
"""A class with fewer training examples is hardly learned."""
_LOPSIDED = 20
"""Times as many rows of the commonest class as of the rarest, from which on a score of all rows hides the rarest."""


def share_of_each(train: NDArray[Any], names: Sequence[str]) -> str:
    """The share of each class or label in the training rows, the commonest first."""
    counts = _counts(train, len(names))
    order = np.argsort(-counts, kind="stable")
    shown = order if len(order) <= 8 else [*order[:5], *order[-2:]]
    shares = [f"{names[i]} {counts[i] / len(train):.3g} ({counts[i]})" for i in shown]
    if len(order) > len(shown):
        shares.insert(5, f"... ({len(order)} in all)")
    return f"shares of {'labels' if train.ndim == 2 else 'classes'} in training: {', '.join(shares)}"


def commonest(train: NDArray[np.int64], valid: NDArray[np.int64], names: Sequence[str]) -> str:
    """What always naming the commonest class scores."""
    name, score = _always(train, valid, names)
    return f"always saying {name} scores accuracy {score:.3g} on the validation rows"


def commonest_labels(train: NDArray[Any], valid: NDArray[Any]) -> str:
    """What always naming the same labels scores: as many of the commonest as score best on the training rows."""
    order = np.argsort(-train.sum(axis=0), kind="stable")
    number = int(np.argmax([_micro_f1(train, order[: k + 1]) for k in range(len(order))])) + 1
    some = "the commonest label" if number == 1 else f"the {number} commonest labels"
    return f"always saying {some} scores micro F1 {_micro_f1(valid, order[:number]):.3g} on the validation rows"


def facts_of(train: NDArray[Any], valid: NDArray[Any], names: Sequence[str]) -> tuple[str, ...]:
    """Shares of classes or labels, and what always naming the commonest scores; `names` may be missing."""
    several = train.ndim == 2
    names = names or [str(i) for i in range(train.shape[1] if several else int(train.max()) + 1)]
    always = commonest_labels(train, valid) if several else commonest(train, valid, names)
    return share_of_each(train, names), always


def _micro_f1(labels: NDArray[Any], chosen: NDArray[np.int64]) -> float:
    """F1 over all labels together [n, c] of always saying these."""
    return float(2 * labels[:, chosen].sum() / max(labels.sum() + len(labels) * len(chosen), 1))


def lopsided(train: NDArray[np.int64], valid: NDArray[np.int64], names: Sequence[str]) -> str | None:
    """A line on classes of very different sizes, where they are."""
    counts = _counts(train, len(names))
    low, high = int(np.where(counts > 0, counts, len(train) + 1).argmin()), int(counts.argmax())
    if counts[high] < _LOPSIDED * counts[low]:
        return None
    name, score = _always(train, valid, names)
    return (
        f"classes are of very different sizes: {counts[high] / counts[low]:.0f} training rows of {name} to one of "
        f"{names[low]}; always saying {name} scores accuracy {score:.3g} on the validation rows already"
    )


def alike(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that differ by case, spaces or the encoding of a letter only."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def alike_lines(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """A line on names that are alike, where some are."""
    groups = alike(names)
    some = "; ".join(", ".join(repr(name) for name in group) for group in groups[:4])
    more = f"; ... ({len(groups)} groups in all)" if len(groups) > 4 else ""
    return (f"{what} differ by case or spaces only: {some}{more}; if they are one, write them alike",) if groups else ()


def thin_classes(classes: Mapping[str, NDArray[Any]], names: Sequence[str]) -> tuple[str, ...]:
    """Lines on classes or labels of which a split has none, or training too few to learn from."""
    lines = []
    for split, numbers in classes.items():
        labels, counts = numbers.ndim == 2, _counts(numbers, len(names))
        least = _FEW_EXAMPLES if split == "train" else 1
        few = [
            f"{name} ({count})" if count else str(name)
            for name, count in zip(names, counts, strict=True)
            if count < least
        ]
        if few:
            some = ", ".join(few[:6]) + (f", ... ({len(few)} in all)" if len(few) > 6 else "")
            verb = "has few examples of" if split == "train" else "has no example of"
            what = ("labels" if labels else "classes") if len(few) > 1 else ("label" if labels else "class")
            lines.append(f"{split} {verb} {what} {some}; scores say little of them")
    return tuple(lines)


def _always(train: NDArray[np.int64], valid: NDArray[np.int64], names: Sequence[str]) -> tuple[str, float]:
    number = int(_counts(train, len(names)).argmax())
    return names[number], float((valid == number).mean())


def _counts(numbers: NDArray[Any], names: int) -> NDArray[np.int64]:
    """How often each class or label occurs, [c]."""
    return numbers.sum(axis=0).astype(np.int64) if numbers.ndim == 2 else np.bincount(numbers, minlength=names)
