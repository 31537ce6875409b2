"""What becomes of generated input: it is accepted, or refused in one line of ours; nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable

from lab.errors import LabError
from lab.tasks.task import Split, Task

_LONGEST = 2_000
"""Characters of a refusal: it is read on a terminal."""


def faults(cases: Iterable[tuple[object, Callable[[], object]]]) -> list[str]:
    """What each case that was neither accepted nor refused came to, with what it was."""
    faulty = []
    for what, use in cases:
        try:
            use()
        except LabError as error:
            said = str(error)
            if len(said.splitlines()) != 1 or len(said) > _LONGEST:
                faulty.append(f"{what}: {len(said)} characters in {len(said.splitlines())} lines: {said[:300]!r}")
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/lab/" in frame.filename]
            where = ours[-1] if ours else last
            faulty.append(f"{what}: {type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})")
    return faulty


def looked_at(task: Task) -> None:
    """Describe a task and show an example of each split: every fact is one line, and no split is empty."""
    description = task.describe()
    lines = (*description.facts, *description.warnings)
    assert all(len(line.splitlines()) == 1 for line in lines), lines
    splits: tuple[Split, ...] = ("train", "valid", "test")
    for split in splits:
        x, y = task.data(split)
        assert len(x) == len(y) > 0
        task.show(split, 0)
