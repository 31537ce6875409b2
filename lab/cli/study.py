"""`lab study ...`: check, run, resume and extend studies; `looking` has what looks at their folders."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli import activations, looking, pseudo_label, suspects
from lab.cli.looking import Folder, Trust
from lab.cli.say import AsJson, say, say_answer, say_json
from lab.errors import EngineLost, Interrupted, SpecError

if TYPE_CHECKING:
    from lab.spec.study import StudySpec
    from lab.study.study import Study

app = typer.Typer(help="Run and look at studies.", no_args_is_help=True, rich_markup_mode=None)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A study's YAML file.", show_default=False)]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="auto|ray|local",
        help="Where lanes run; auto chooses it, their number, width and threads anew.",
    ),
]
Address = Annotated[str | None, typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")]
Lanes = Annotated[int | None, typer.Option(min=1, help="Lanes (workers); default: one per core or GPU.")]
Width = Annotated[str | None, typer.Option(metavar="auto|K", help="Trials that a lane trains as one.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the spec; repeatable.")]
Track = Annotated[str | None, typer.Option(metavar="wandb", help="Log the study to W&B.")]
TrackTrials = Annotated[
    str, typer.Option("--track-trials", metavar="best|all|none", help="Trials with runs of their own there.")
]
WarmStart = Annotated[
    Path | None,
    typer.Option(
        "--warm-start",
        metavar="DIR",
        help="Another study of the same task, to learn from; or a folder of studies, whose settings are tried first.",
    ),
]
BudgetLimit = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME|EPOCHS", help="What it may cost: 30m, 2h, or a number of epochs."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="STAGE", help="Stop after this stage.")]


@app.command()
def run(
    spec: SpecPath,
    dir: Annotated[Path | None, typer.Option("--dir", help="The study folder; default: runs/NAME.")] = None,  # noqa: A002
    engine: EngineName = None,
    address: Address = None,
    lanes: Lanes = None,
    width: Width = None,
    set_: Sets = None,
    track: Track = None,
    track_trials: TrackTrials = "best",
    until: Until = None,
    warm_start: WarmStart = None,
    budget: BudgetLimit = None,
    trust: Trust = False,
) -> None:
    """Run a study from its spec; one that was interrupted goes on where it was."""
    from lab.study.study import Study

    study = Study.from_spec(_read(spec, set_, budget), dir)
    if trust and study.record.exists():
        Study.open(study.record.folder, trust=True)
    _go(study, engine, address, lanes, width, track, track_trials, until, warm_start)


@app.command()
def resume(
    folder: Folder,
    engine: EngineName = None,
    address: Address = None,
    lanes: Lanes = None,
    track: Track = None,
    track_trials: TrackTrials = "best",
    until: Until = None,
    trust: Trust = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="task.NAME=PATH", help="Where files have moved; repeatable.")
    ] = None,
) -> None:
    """Go on with an interrupted study; nothing that was finished is done again."""
    from lab.record.spec_file import parse_override, read_spec
    from lab.study.machines import check_changes
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    if set_:
        study.require_own()  # what is made of its spec is the caller's own
        overrides = dict(parse_override(text) for text in set_)
        check_changes(overrides)
        study = Study.from_spec(read_spec(study.record.spec_path, overrides), folder)
    _go(study, engine, address, lanes, None, track, track_trials, until)


@app.command()
def extend(
    folder: Folder,
    trials: Annotated[str, typer.Option(metavar="+N|N", help="So many more trials, or so many in all.")] = "+0",
    set_: Sets = None,
    engine: EngineName = None,
    address: Address = None,
    lanes: Lanes = None,
    track: Track = None,
    track_trials: TrackTrials = "best",
    trust: Trust = False,
) -> None:
    """Go on searching where a study ended, also in a wider space (--set space.x.high=...); then conclude anew."""
    from lab.record.spec_file import parse_override
    from lab.spec.plan import OWN_LOOP
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    study.require_own()
    overrides = dict(parse_override(text) for text in set_ or [])
    aside = study.extend_to({**overrides, "search.trials": _more(trials, study.spec.search.trials)})
    say(f"what was concluded before is kept in {aside}")
    if study.spec.task.kind == OWN_LOOP:
        say("trials    the loop that asks and tells may go on")
        return
    _go(Study.open(folder), engine, address, lanes, None, track, track_trials, None)


def _more(text: str, have: int) -> int:
    number = text.removeprefix("+")
    if not number.isdecimal():
        raise SpecError("--trials", f"{text!r} is neither +N nor a whole number")
    return int(number) + (have if text.startswith("+") else 0)


def _go(
    study: Study,
    engine: str | None,
    address: str | None,
    lanes: int | None,
    width: str | None,
    track: str | None,
    track_trials: str,
    until: str | None,
    warm_start: Path | None = None,
) -> None:
    try:
        study.run(
            engine=engine,
            address=address,
            lanes=lanes,
            width=_width(width),
            until=until,
            track=track,
            track_trials=track_trials,
            warm_start=warm_start,
            quiet=False,
        )
    except (Interrupted, EngineLost) as error:
        command = f"lab study resume {shlex.quote(str(study.record.folder))}"
        raise type(error)(f"{error}; resume with: {command}") from None


def _width(text: str | None) -> int | None:
    if text is None or text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise SpecError("--width", f"{text!r} is neither 'auto' nor a whole number of at least 1")
    return int(text)


def _read(path: Path, sets: list[str] | None, budget: str | None = None) -> StudySpec:
    from lab.record.spec_file import parse_override, read_spec

    limit = {} if budget is None else {"budget": budget}
    return read_spec(path, dict(parse_override(text) for text in sets or []) | limit)


@app.command()
def check(
    spec: SpecPath,
    set_: Sets = None,
    probe: Annotated[bool, typer.Option("--probe", help="Build the task and time it on this machine.")] = False,
    budget: BudgetLimit = None,
    as_json: AsJson = False,
) -> None:
    """Print the resolved spec, the number of trainings and an estimate of the cost; trains nothing."""
    from lab.record.spec_file import dump_spec
    from lab.study.check import check_components
    from lab.study.estimate import estimate
    from lab.study.progress import logged
    from lab.study.undecided import with_undecided

    read = _read(spec, set_, budget)
    check_components(read)
    read = with_undecided(read, load=probe)
    with logged(partial(say, file=sys.stderr)):
        cost = estimate(read, probe)
    if as_json:
        say_answer(cost.checked(read.model_dump(mode="json")))
        return
    say(dump_spec(read).rstrip())
    say()
    for line in cost.lines:
        say(line)


@app.command()
def schema(
    of: Annotated[
        str, typer.Option("--of", metavar="spec|COMMAND", help="A study's file, or what a command answers with --json.")
    ] = "spec",
) -> None:
    """Print the JSON schema of a study's YAML file, for editors that complete and check as you type; or of an answer of
    a command, for programs."""
    from lab.cli.answer_schema import answer_schema
    from lab.study.schema import spec_schema

    say_json(spec_schema() if of == "spec" else answer_schema(of))


app.command("suspects")(suspects.suspects)
app.command("activations")(activations.activations)
app.command("pseudo-label")(pseudo_label.pseudo_label)
for name, command in looking.COMMANDS.items():  # behind those that begin something
    app.command(name)(command)
