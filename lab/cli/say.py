"""Showing what a command has to say, whoever has written it: as text on a terminal, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TextIO

import typer

from lab.errors import plain

AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object, and nothing else there.")]


def say(text: object = "", file: TextIO | None = None) -> None:
    """Print a line without what a terminal would take for commands; a study's folder may come from anybody."""
    print(plain(str(text)), file=file, flush=True)


def say_json(answer: Mapping[str, Any]) -> None:
    """Print a command's whole answer as one JSON object; what is no finite number is null there."""
    from lab.record.folder import json_form

    say(json.dumps(json_form(answer), indent=1, default=str))
