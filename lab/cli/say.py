"""Showing what a command has to say, whoever has written it: as text on a terminal, or as JSON for programs."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Annotated, Any, TextIO

import typer

from lab.errors import plain


class _Notes(io.TextIOBase):
    """Standard output while a command's answer is made: what a user's task prints goes where notes go."""

    def __init__(self, answers: TextIO) -> None:
        self.answers = answers
        """Where the answer goes."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def _alone(context: typer.Context, chosen: bool) -> bool:
    """Leave standard output to the answer until the command ends."""
    if chosen:
        context.with_resource(contextlib.redirect_stdout(_Notes(sys.stdout)))
    return chosen


AsJson = Annotated[
    bool, typer.Option("--json", callback=_alone, help="For programs: one JSON object, and nothing else there.")
]


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print a line without what a terminal would take for commands; a study's folder may come from anybody."""
    print(plain(str(text)), file=file, flush=True)


def say_answer(answer: object) -> None:
    """Print a command's answer, a dataclass of `lab.cli.answers.ANSWERS`, as one JSON object."""
    from lab.cli.answers import FLAT, OMITTED

    assert is_dataclass(answer)
    assert not isinstance(answer, type)
    plainly = asdict(answer)
    said: dict[str, Any] = {}
    for entry in fields(answer):
        value = plainly[entry.name]
        if entry.metadata.get(FLAT):
            said |= value
        elif value is not None or not entry.metadata.get(OMITTED):
            said[entry.name] = value
    say_json(said)


def say_json(answer: Mapping[str, Any]) -> None:
    """Print a command's whole answer as one JSON object; what is no finite number is null there."""
    from lab.record.folder import json_form

    file = sys.stdout.answers if isinstance(sys.stdout, _Notes) else None
    say(json.dumps(json_form(answer), indent=1, default=str), file=file)
