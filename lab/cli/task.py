"""`lab task ...`: the tasks that come with the package, and help to write one's own."""

from __future__ import annotations

import keyword
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lab.cli.answers import BuiltinTask, Point, TaskCheck, TaskList, TaskOption
from lab.cli.say import AsJson, say, say_answer
from lab.errors import SpecError, TaskError

if TYPE_CHECKING:
    from lab.tasks.options import Options

app = typer.Typer(help="Tasks: what is trained.", no_args_is_help=True, rich_markup_mode=None)

_PARAMS: dict[str, Any] = {"max_lr": 1e-3, "weight_decay": 0.01, "dropout": 0.1, "cycles": 1}
"""Hyperparameters that a task is tried with where none are given."""


@app.callback()
def root() -> None:
    """Tasks: what is trained."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the built-in tasks with their options, and tasks of other packages."""
    from lab import plugins
    from lab.tasks.builtin import BUILTIN

    if as_json:
        builtin = {
            kind: BuiltinTask(
                task.summary,
                {
                    name: TaskOption(
                        option.meaning,
                        task.options.requires(name),
                        None if task.options.requires(name) else task.options.default(name),
                    )
                    for name, option in task.options.declared().items()
                },
            )
            for kind, task in BUILTIN.items()
        }
        say_answer(TaskList(builtin, plugins.registered("lab.tasks")))
        return
    for kind, task in BUILTIN.items():
        say(f"{kind}: {task.summary}")
        for name, option in task.options.declared().items():
            say(f"  {name}: {option.meaning}{_without(task.options, name)}")
    for kind, package in plugins.registered("lab.tasks").items():
        say(f"{kind}: of package {package}")
    say("FILE.py:NAME: your own task, beside the spec that names it")
    say("PACKAGE.MODULE:NAME: a task of an installed package")


def _without(options: type[Options], name: str) -> str:
    """What leaving an option out comes to, where its meaning does not say so."""
    if options.requires(name):
        return " (required)"
    default = options.default(name)
    shown = str(default).lower() if isinstance(default, bool) else default  # as YAML writes it
    return f" (default: {shown})" if isinstance(default, (str, int, float)) else ""


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The file to write.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="The class; default: from the file's name.")] = None,
) -> None:
    """Write a task to start from, which runs as it is, and a test beside it."""
    from importlib.resources import files

    from lab.record.folder import write_bytes

    if file.suffix != ".py" or not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise SpecError("FILE.py", f"{str(file)!r} is not the name of a Python module, such as my_task.py")
    cls = name or "".join(part.capitalize() for part in file.stem.split("_"))
    if not cls.isidentifier() or keyword.iskeyword(cls):
        raise SpecError("--name", f"{cls!r} is not the name of a class")
    test = file.with_name(f"test_{file.name}")
    for path in (file, test):
        if path.exists():
            raise SpecError("FILE.py", f"{path} exists already; nothing was written")
    if not file.parent.is_dir():
        raise SpecError("FILE.py", f"the folder {file.parent} does not exist")
    templates = files("lab.tasks") / "templates"
    for path, template in ((file, "task.py.txt"), (test, "test.py.txt")):
        text = (templates / template).read_text(encoding="utf-8")
        write_bytes(
            path,
            text.replace("FILE:NAME", f"{file.name}:{cls}").replace("FILE", file.stem).replace("NAME", cls).encode(),
        )
    say(f"{file}: replace the parts marked with 1 to 4, then: lab task check {file}:{cls}")
    say(f"{test}: its test, for pytest")


@app.command()
def check(
    task: Annotated[str, typer.Argument(metavar="FILE.py:NAME", help="Or a built-in task.", show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the task; repeatable.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="KEY=VALUE", help="A hyperparameter to try it with; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try a task against the contract, point by point, and say in plain words what is wrong."""
    from lab.record.spec_file import parse_override
    from lab.spec.plan import TaskRef
    from lab.stages.rehearsal import rehearsed
    from lab.tasks.builtin import rooted
    from lab.tasks.checks import contract_suite
    from lab.tasks.description import Description
    from lab.tasks.load import load_task
    from lab.tasks.task import Task, TrialFunction

    options = dict(parse_override(text) for text in set_ or [])
    ref = TaskRef(task, options | rooted(task, options, Path.cwd()))
    loaded = load_task(ref)
    if isinstance(loaded, TrialFunction):
        raise TaskError(f"{task}: is a trial function; the contract is that of a lab.Task")
    params = _PARAMS | dict(parse_override(text) for text in param or [])
    again = lambda: cast(Task, load_task(ref))  # noqa: E731
    findings = []
    for finding in contract_suite(loaded, params, again, {"a study can end with it": rehearsed}):
        findings.append(finding)
        if not as_json:  # each as it is known: a task may take long
            say(f"{'ok  ' if finding.passed else 'FAIL'} {finding.name}: {finding.said}")
    failed = sum(not finding.passed for finding in findings)
    description = loaded.describe() if not failed else Description()
    if as_json:
        points = [Point(finding.name, finding.passed, finding.said) for finding in findings]
        say_answer(TaskCheck(task, not failed, points, description.facts, description.warnings))
    else:
        for line in description.facts + description.warnings:
            say(f"     {line}")
    if failed:
        raise TaskError(f"{task}: {failed} point{'s' if failed > 1 else ''} of the contract failed")
