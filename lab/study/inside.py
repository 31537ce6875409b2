"""What a study's folder holds of its data, as tables to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from lab.errors import RecordError
from lab.record.folder import Record
from lab.stages import ensemble
from lab.stages.column_importance import ColumnImportances
from lab.tasks.table.drift import Drift

if TYPE_CHECKING:
    import pandas as pd


def drift_frame(record: Record) -> pd.DataFrame:
    """How validation and test rows differ from the training rows.

    Raises:
        RecordError: it was not looked at, or its file is damaged.
    """
    import pandas as pd

    kept = (record.task() or {}).get("drift")
    if not kept:
        raise RecordError(
            f"{record.task_path}: holds nothing of drift; it is looked at when a study of a table begins, where "
            "training rows and others are 100 each at least"
        )
    try:
        drifts = TypeAdapter(tuple[Drift, ...]).validate_python(kept)
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


def column_importances(record: Record) -> ColumnImportances:
    """What the columns of a table are worth to the chosen ensemble.

    Raises:
        RecordError: stage `ensemble` has not run, or it did not look at that.
    """
    importances = ensemble.STAGE.need(record).column_importances
    if importances is None:
        where = ensemble.STAGE.path(record)
        raise RecordError(f"{where}: says nothing of columns: the task is no table, or an earlier version wrote it")
    return importances


def columns_frame(record: Record) -> pd.DataFrame:
    """The same as a table, a row for the columns that are alike; errors as there."""
    import pandas as pd

    columns = column_importances(record).columns
    rows = [{"columns": [*one.columns], "worse": one.worse, "std": one.std} for one in columns]
    return pd.DataFrame(rows)
