"""The command line's root: sub-commands, and errors as one line with an exit code."""

from __future__ import annotations

import atexit
import errno
import functools
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

import lab
from lab.cli import cluster, distill, doctor, embeddings, export_model, lr_range, predict, schedule, study, task
from lab.errors import LabError, one_line

app = typer.Typer(
    name="lab",
    help="Learning-rate bounds, cycles, weight decay and dropout for your model; and the ensemble trained that way.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(study.app, name="study")
app.add_typer(task.app, name="task")
app.add_typer(cluster.app, name="cluster")
app.command("lr-range")(lr_range.lr_range)
app.command("schedule")(schedule.schedule)
app.command("predict")(predict.predict)
app.command("embeddings")(embeddings.embeddings)
app.command("export-model")(export_model.export_model)
app.command("distill")(distill.distill)
app.command("doctor")(doctor.doctor)


def _version(show: bool) -> None:
    if show:
        print(f"lab {lab.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learning-rate bounds, cycles, weight decay and dropout for your model; and the ensemble trained that way."""


@functools.cache
def command() -> Callable[[], object]:
    """The whole command line, put together once in a process: that takes longer than most commands."""
    return get_command(app)


def main() -> None:
    """Run the command line; errors of ours end in one line on stderr and their exit code."""
    # The interpreter looks for garbage as it ends, in all that torch has loaded: half a second, for memory that goes.
    atexit.register(gc.freeze)
    try:
        Path.cwd()
    except FileNotFoundError:
        _end("the working directory is deleted; change to another", 2)
    try:
        command()()
    except LabError as error:
        _end(str(error), error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            _end(f"{error.filename or 'the study folder'}: {error.strerror}; make room, then resume", 2)
        if error.filename is None:
            raise
        _end(f"{os.fsdecode(error.filename)}: {error.strerror}", 2)  # one that may not be read, or is gone meanwhile


def _end(message: str, code: int) -> None:
    print(f"lab: {one_line(message)}", file=sys.stderr)
    sys.exit(code)
