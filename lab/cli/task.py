"""`lab task ...`: the tasks that come with the package."""

from __future__ import annotations

import typer

app = typer.Typer(help="Tasks: what is trained.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Tasks: what is trained."""


@app.command("list")
def list_() -> None:
    """List the built-in tasks and their options."""
    from lab.tasks.builtin import BUILTIN

    for kind, task in BUILTIN.items():
        print(f"{kind}: {task.summary}")
        for name, meaning in task.options.items():
            print(f"  {name}: {meaning}")
    print("FILE.py:NAME: your own task, beside the spec that names it")
