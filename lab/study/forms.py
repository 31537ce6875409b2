"""The forms in which a model leaves lab, by their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lab.errors import SpecError
from lab.study.hub_folder import HubProgram
from lab.study.program import OnnxProgram, Program, TorchProgram

PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {one.name: one for one in (TorchProgram(), OnnxProgram(), HubProgram())}
)


def program_of(name: str) -> Program:
    """The form of this name, for which all is installed.

    Raises:
        SpecError: there is none, or something is missing.
    """
    if name not in PROGRAMS:
        raise SpecError("--to", f"{name!r} is unknown; choices: {', '.join(PROGRAMS)}")
    PROGRAMS[name].check()
    return PROGRAMS[name]
