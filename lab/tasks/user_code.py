"""Importing a user's own code: the user's line is named when it fails, and not ours."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from lab.errors import TaskError


def import_file(path: Path) -> ModuleType:
    """The module that a file makes; imported once.

    Raises:
        TaskError: it does not import.
    """
    name = f"_lab_task_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look their module up
    sys.path.insert(0, str(path.parent))  # a task file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end itself when it is imported
        del sys.modules[name]
        raise TaskError(f"{line_of(error, path)}{said_by(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def import_module(name: str) -> ModuleType:
    """A module of a package that is installed here.

    Raises:
        TaskError: it does not import.
    """
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a package's own code may raise anything
        raise TaskError(f"{name}: {line_of(error, home_of(name))}{said_by(error)}") from error


def home_of(module: str) -> Path | None:
    """The folder of the package that a module belongs to, or its file where it belongs to none; imports nothing.

    None: there is no such package here.
    """
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # no name, or a module that no import has made, such as a script
        return None
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else [])]
    return Path(folders[0]) if folders else None


def line_of(error: BaseException, own: Path | None) -> str:
    """`file:line: ` of the innermost frame in the user's code.

    Args:
        own: the file that is the user's, or the folder; None: every line is.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if own is None or own == Path(f.filename) or own in Path(f.filename).parents]
    return f"{mine[-1].filename}:{mine[-1].lineno}: " if mine else (f"{own}: " if own else "")


def said_by(error: BaseException) -> str:
    """An error's type and message in one line."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(message.split())}"
