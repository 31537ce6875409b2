"""The columns of several targets of different kinds, as `Targets`."""

from __future__ import annotations

from lab.errors import SpecError
from lab.tasks.scored import score_of
from lab.tasks.several_targets import Classes, Part, Targets, Values
from lab.tasks.table.options import TableOptions
from lab.tasks.table.target import Target


def targets_of(target: Target, options: TableOptions) -> Targets:
    """The targets with what a spec says of them: their weights, and which of them trials are compared by, and how.

    Raises:
        SpecError: the primary target has no such metric, or it is one of the user's own.
    """
    primary = options.primary or target.names[0]
    parts: dict[str, Part] = {}
    for part in target.parts:
        name = part.names[0]
        metric = options.metric if name == primary else None
        if metric is not None and score_of(options, part.kind).file is not None:
            raise SpecError("task.metric", f"{metric}: of targets of different kinds it is one that comes with lab")
        if part.kind == "classification":
            parts[name] = Classes(part.levels, metric)
        else:
            parts[name] = Values(part.std[0], metric)
    return Targets(parts, dict(options.target_weights), primary)
