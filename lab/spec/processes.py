"""How many processes divide the batches of a lane's one model among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.errors import SpecError
from lab.spec.batch_size import batch_sizes

if TYPE_CHECKING:
    from lab.spec.study import StudySpec


def processes_of(spec: StudySpec) -> int:
    """One for each of a lane's GPUs, where the spec does not say; a trial function has them all in one process.

    Raises:
        SpecError: what else is said of lanes does not go with several.
    """
    execution = spec.execution
    is_alone = execution.path == "function" and execution.processes == "auto"
    count = execution.processes if isinstance(execution.processes, int) else max(int(execution.gpus_per_lane), 1)
    if count == 1 or is_alone:
        if execution.sharded:
            raise SpecError(
                "execution.sharded", "one process has the whole model; say gpus_per_lane: 2 or more, or false"
            )
        return 1
    for name, said, only in (
        ("path", execution.path, "sequential"),
        ("width", execution.width, 1),
        ("lanes", execution.lanes if execution.engine == "local" else 1, 1),
    ):
        if said not in ("auto", only):
            reason = f"{said!r} does not go with {count} processes, which train one model together; choose {only}"
            raise SpecError(f"execution.{name}", reason)
    if execution.gpus_per_lane not in (0, count):
        reason = f"{count} is not one for each of the {execution.gpus_per_lane:g} GPUs of a lane"
        raise SpecError("execution.processes", reason)
    for size in batch_sizes(spec.batch_size, spec.space):
        if size % count:
            raise SpecError("batch_size", f"{size} is not divided equally among {count} processes")
    if execution.sharded:
        _check_sharded(spec)
    return count


def _check_sharded(spec: StudySpec) -> None:
    for path, asked in (
        ("schedule", "a kind that freezes parts of the model" if spec.schedule.freezes else None),
        ("final.ema_decay", spec.final.ema_decay),
        ("task.adapter", spec.task.options.get("adapter")),
    ):
        if asked:
            raise SpecError(path, f"{asked} does not go with execution.sharded: true; leave one of them out")
