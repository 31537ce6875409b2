"""Predictions as a table, alike for the command and for Python: a row for each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from lab.stages.predicts import Predicts
    from lab.tasks.task import Given

TOP = 10
"""Rows for each user where a task ranks."""


def readable(prediction: Tensor, predicts: Predicts, inputs: Given) -> tuple[NDArray[Any], tuple[str, ...]]:
    """What a user reads of predictions [n, ...], and what its columns are called: what the task says instead of them,
    or the predictions."""
    import numpy as np

    if instead := predicts.readable(prediction, inputs.y):
        columns = [values if isinstance(values, Sequence) else values.numpy() for values in instead.values()]
        if any(isinstance(values, Sequence) for values in columns):  # words, beside which numbers stay numbers
            columns = [np.array(values, dtype=object) for values in columns]
        return np.stack(columns, axis=1), tuple(instead)
    return prediction.numpy(), predicts.class_names


def prediction_table(
    values: NDArray[Any], columns: tuple[str, ...], predicts: Predicts, inputs: Given, top: int = TOP
) -> pd.DataFrame:
    """What `readable` gives of predictions, behind the inputs' names and columns of the user's own; where items are
    ranked, the best `top` within each.

    Raises:
        SpecError: as `as_table`.
    """
    rows = as_table(values, predicts.kind, columns, inputs.names, predicts.thresholds)
    return _ranked(_beside(rows, inputs.beside), inputs.ranked_within, top)


def as_table(
    prediction: Any,
    kind: str,
    class_names: tuple[str, ...],
    names: tuple[str, ...] = (),
    thresholds: tuple[float, ...] = (),
) -> pd.DataFrame:
    """Predictions [n, c] or [n, ...] as a table: the class, or the labels, and every probability; or the values.

    Where one is no finite number there is no class and no label.

    Raises:
        SpecError: each part of an input has a class, for which a row is no good form.
    """
    import numpy as np
    import pandas as pd

    if kind == "classification" and prediction.ndim > 2:
        raise SpecError("--output", "each part of an input has a class here; write the probabilities to FILE.npz")
    flat = prediction.reshape(len(prediction), -1)
    if kind == "regression":
        fitting = class_names if len(class_names) == flat.shape[1] else ()
        table = pd.DataFrame(flat, columns=list(fitting) or [f"value{i}" for i in range(flat.shape[1])]).infer_objects()
    else:
        labels = class_names or tuple(str(i) for i in range(flat.shape[1]))
        table = pd.DataFrame(flat, columns=[f"p_{name}" for name in labels])
        if kind == "classification":
            column, chosen = "class", [labels[i] for i in flat.argmax(axis=1)]
        else:
            column = "labels"
            least = thresholds or (0.5,) * len(labels)
            chosen = [" ".join(name for name, p, t in zip(labels, row, least, strict=True) if p > t) for row in flat]
        sure = np.isfinite(flat).all(axis=1)
        table.insert(0, column, [text if s else "" for text, s in zip(chosen, sure, strict=True)])
    if names:
        table.insert(0, "name", list(names))
    return table


def _beside(table: pd.DataFrame, columns: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """A table of predictions behind columns of the user's own."""
    for index, (name, values) in enumerate(columns.items()):
        table.insert(index, name, list(values), allow_duplicates=True)
    return table


def _ranked(table: pd.DataFrame, within: str, top: int) -> pd.DataFrame:
    """The rows with the largest predictions among those that have one value of a column, best first."""
    if not within:
        return table
    best = table.sort_values(table.columns[-1], ascending=False, kind="stable").groupby(within, sort=False).head(top)
    order = {value: index for index, value in enumerate(dict.fromkeys(table[within]))}
    return best.sort_values(within, key=lambda values: values.map(order), kind="stable")
