"""The kind of the target columns, as a description says it, and the metrics that are measured of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lab.tasks.scored import check_defined, measured
from lab.tasks.table.target import Target
from lab.tasks.targeted import Targeted


def kind_and_metrics(
    target: Target, options: Targeted, targets: Mapping[str, NDArray[Any]]
) -> tuple[str, tuple[str, ...]]:
    """The kind of the target, `several` where its columns differ in it, and the metrics of each trial.

    Args:
        targets: of each split, as `Target.values` has them.

    Raises:
        SpecError: an option has nothing to say of such a target; the metric is none of it, or undefined on some split.
    """
    kind = "several" if target.parts else target.kind
    options.check_beside(kind)
    if target.parts:
        from lab.tasks.table.several import check_several  # here: it needs torch

        return kind, check_several(target, options, targets)
    check_defined(options, kind, targets)
    return kind, measured(options, kind)
