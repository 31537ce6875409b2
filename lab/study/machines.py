"""On which machines a study runs: what is asked for beside its spec, and what a spec says of machines alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lab.errors import SpecError
from lab.spec.study import StudySpec


def with_flags(
    spec: StudySpec, engine: str | None, lanes: int | None, width: int | None, address: str | None = None
) -> StudySpec:
    """The spec with the lanes that are asked for; what was settled for another engine is to be settled anew.

    Raises:
        SpecError: what is asked for cannot be.
    """
    if address is not None and engine == "local":
        raise SpecError("--address", f"{address} is given, and engine 'local' trains in this process")
    if address is not None and engine is None and spec.execution.engine == "local":
        engine = "auto"  # settled before there was a cluster
    for name, count in (("lanes", lanes), ("width", width)):
        if count is not None and count < 1:
            raise SpecError(name, f"{count!r} is not at least 1")
    # What was settled for one engine is no guide to another.
    other = engine is not None and spec.execution.engine not in ("auto", engine)
    anew = {"lanes": "auto", "width": "auto", "threads": "auto"} if engine == "auto" or other else {}
    flags = {"engine": engine, "lanes": lanes, "width": width}
    updates: dict[str, Any] = anew | {name: value for name, value in flags.items() if value is not None}
    if engine is not None and engine not in ("auto", "ray", "local"):
        raise SpecError("--engine", f"{engine!r} is unknown; choices: auto, ray, local")
    return spec.changed(execution=updates)


_OF_MACHINE = ("device", "cpus_per_lane", "gpus_per_lane", "checkpoint_s", "hang_s")
"""What `execution` says of machines alone: it may be put right whenever the study goes on."""


def check_changes(paths: Iterable[str]) -> None:
    """Refuse to change what a study has settled of its lanes when it began, by paths in its spec.

    Raises:
        SpecError: one in `execution` that says more than on which machines lanes run.
    """
    for path in paths:
        section, _, name = path.partition(".")
        if section == "execution" and name not in _OF_MACHINE:
            choices = ", ".join(_OF_MACHINE)
            raise SpecError(path, f"was settled when the study began; what may be changed of execution is {choices}")


def on_machine_of(asked: StudySpec, stored: StudySpec) -> StudySpec:
    """A study that has begun, on the machines of the spec that it is run by this time."""
    said = asked.execution.model_fields_set
    updates = {name: getattr(asked.execution, name) for name in _OF_MACHINE if name in said}
    return stored.changed(execution=updates)
