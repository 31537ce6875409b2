"""scikit-learn's digits and their splits. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from lab.tasks.classes import facts_of
from lab.tasks.description import Description
from lab.tasks.digits_options import DigitsOptions
from lab.tasks.scored import check_defined, measured

CLASS_NAMES = tuple(str(digit) for digit in range(10))


def digits(split_seed: int) -> dict[Literal["train", "valid", "test"], tuple[NDArray[Any], NDArray[Any]]]:
    """Each split's pixels 0..16 [n, 64] and digits [n]."""
    # Here, not above: a lane that is handed the tensors needs no scikit-learn.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    rest_x, test_x, rest_y, test_y = train_test_split(x, y, test_size=0.2, stratify=y, random_state=split_seed)
    train_x, valid_x, train_y, valid_y = train_test_split(
        rest_x, rest_y, test_size=0.25, stratify=rest_y, random_state=split_seed
    )
    return {"train": (train_x, train_y), "valid": (valid_x, valid_y), "test": (test_x, test_y)}


def describe(options: Mapping[str, Any]) -> Description:
    """What a spec's options for the task `digits` come to."""
    parsed = DigitsOptions.parse(options)
    parts = digits(parsed.split_seed)
    check_defined(parsed, "classification", {split: y for split, (_, y) in parts.items()})
    train, valid = parts["train"][1], parts["valid"][1]
    kind = "classification"
    return Description(facts_of(train, valid, CLASS_NAMES), (), len(train), kind, measured(parsed, kind))
