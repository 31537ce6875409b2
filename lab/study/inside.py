"""What a study's folder holds of its data, as tables to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from lab.errors import RecordError
from lab.record.folder import Record
from lab.tasks.table.drift import Drift

if TYPE_CHECKING:
    import pandas as pd


def drift_frame(record: Record) -> pd.DataFrame:
    """How validation and test rows differ from the training rows.

    Raises:
        RecordError: it was not looked at, or its file is damaged.
    """
    import pandas as pd

    found = (record.task() or {}).get("drift")
    if not found:
        raise RecordError(
            f"{record.task_path}: holds nothing of drift; it is looked at when a study of a table begins, where "
            "training rows and others are 100 each at least"
        )
    try:
        drifts = TypeAdapter(tuple[Drift, ...]).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(f"{record.task_path}: drift.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return pd.DataFrame(
        {
            "split": one.other,
            "rows": one.rows,
            "auc": one.auc,
            "low": one.low,
            "high": one.high,
            "by": [*map(list, (telling.names for telling in one.columns))],
        }
        for one in drifts
    )
