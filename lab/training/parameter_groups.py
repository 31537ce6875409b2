"""Parameter groups of a model in its flat row, each with a learning rate of its own, and frozen for a while.

Shapes: p parameters of a row, g groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from lab.errors import TaskError
from lab.tasks.task import Task


@dataclass(frozen=True)
class Segment:
    """Parameters of one group that lie side by side in the row."""

    group: int
    start: int
    stop: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class ParameterGroups:
    """A model's groups, earliest layers first; what is in none of them is not trained by its optimizer either."""

    names: tuple[tuple[str, ...], ...]
    """The names of each group's parameters."""
    segments: tuple[Segment, ...]
    """They make up the row [p], in its order."""

    @property
    def count(self) -> int:
        return len(self.names)

    def frozen(self, factors: Sequence[float]) -> frozenset[str]:
        """The parameters of the groups whose lr has the factor 0, out of factors [g]."""
        return frozenset(
            name for names, factor in zip(self.names, factors, strict=True) if factor == 0 for name in names
        )


def parameter_groups(task: Task, model: nn.Module, sizes: Mapping[str, int] | None = None) -> ParameterGroups:
    """The groups that a task makes of a model's trained parameters; one, where it makes none.

    Args:
        sizes: how many numbers of each parameter are in the row; None: all.

    Raises:
        TaskError: a name that the model does not have, that is given twice or not at all.
    """
    sizes = sizes or {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    stated = tuple(tuple(group) for group in task.groups(model)) or (tuple(sizes),)
    where = f"{type(task).__name__}.groups"
    group_of: dict[str, int] = {}
    for number, names in enumerate(stated):
        if not names:
            raise TaskError(f"{where}: group {number} is empty")
        for name in names:
            if name not in sizes:
                raise TaskError(f"{where}: {name!r} is no trained parameter of the model")
            if name in group_of:
                raise TaskError(f"{where}: {name!r} is given twice")
            group_of[name] = number
    lacking = [name for name in sizes if name not in group_of]
    if lacking:
        raise TaskError(f"{where}: {lacking[0]!r} is in no group")
    segments: list[Segment] = []
    start = 0
    for name, size in sizes.items():
        group, stop = group_of[name], start + size
        if segments and segments[-1].group == group:
            segments[-1] = replace(segments[-1], stop=stop, names=(*segments[-1].names, name))
        else:
            segments.append(Segment(group, start, stop, (name,)))
        start = stop
    return ParameterGroups(stated, tuple(segments))
