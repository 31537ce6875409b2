"""Values of a column: what a date's format leaves open."""

from __future__ import annotations

import pandas as pd
import pytest

from lab.tasks.table.values import date_format, other_format


@pytest.mark.parametrize(
    ("values", "name", "other"),
    [
        (["03/04/2021", "05/06/2021", None], "%m/%d/%Y", "%d/%m/%Y"),
        (["03/04/2021", "05/16/2021", None], "%m/%d/%Y", None),
        (["03/04/2021 10:30", "05/06/2021 11:00"], "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M"),
        (["3.4.2021", "5.6.2021"], "%d.%m.%Y", None),
        (["3.4.2021 10:30:59", "25.6.2021 00:00:00"], "%d.%m.%Y %H:%M:%S", None),
        (["25-12-2021", "3-4-2021"], "%d-%m-%Y", None),
        (["3/4/2021 9:05 AM", "3/14/2021 12:30 PM"], "%m/%d/%Y %I:%M %p", None),
        (["12-34", "13-35"], None, None),
        (["2021-03-04"], "ISO8601", None),
        ([pd.Timestamp("2021-03-04")], None, None),
    ],
)
def test_dates_whose_month_and_day_can_be_exchanged_are_in_doubt(
    values: list[object], name: str | None, other: str | None
):
    if name is not None:
        assert date_format(pd.Series(values).dropna()) == name
    assert other_format(pd.Series(values), name) == other
