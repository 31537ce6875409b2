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
    if name not in names and not names & _MAKE_NAMES:
        raise SpecError(where, f"{file}: has no {name!r}{nearest(name, names)}")


_MAKE_NAMES = frozenset(
    ("*", "__dict__", "__getattr__", "eval", "exec", "globals", "import_module", "locals", "modules", "setattr", "vars")
)
"""Where a module speaks of one of these, its names are known when it runs."""


def _names(node: ast.AST) -> Iterator[str]:
    """All that is bound anywhere in a module, and all by which more may be: rather a name too many than one too few."""
    for one in ast.walk(node):
        match one:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name) | ast.Attribute(attr=name):
                if isinstance(one.ctx, ast.Store) or name in _MAKE_NAMES:
                    yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case ast.ExceptHandler(name=str(name)):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]
