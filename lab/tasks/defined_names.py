"""Whether a user's file has a name, seen without running it. Needs no torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.user_code import line_of, said_by


def check_file(file: Path, name: str, where: str) -> None:
    """Refuse a file that does not parse, or has not the name; one whose names are only known when it runs may have it.

    Raises:
        SpecError: at `where`.
        TaskError: it does not parse, with the user's line.
    """
    try:
        module = ast.parse(file.read_bytes(), str(file))
    except OSError as error:
        raise SpecError(where, f"the file {file} cannot be read ({error.strerror})") from None
    except (SyntaxError, ValueError, RecursionError) as error:
        raise TaskError(f"{line_of(error, file)}{said_by(error)}") from None
    names = set(_names(module))
    if name not in names and not names & {"*", "__getattr__", "globals", "vars", "exec"}:
        raise SpecError(where, f"{file}: has no {name!r}{nearest(name, names)}")


def _names(node: ast.AST) -> Iterator[str]:
    """All that is bound or called anywhere in a module: rather a name too many than one too few."""
    for one in ast.walk(node):
        match one:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name):
                if isinstance(one.ctx, ast.Store) or name in ("globals", "vars", "exec"):
                    yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]
