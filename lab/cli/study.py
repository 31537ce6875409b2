"""`lab study ...`: run, check, resume, look at and export studies."""

from __future__ import annotations

import json
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lab.cli.say import say
from lab.errors import EngineLost, Interrupted, SpecError

if TYPE_CHECKING:
    from lab.spec.study import StudySpec
    from lab.study.study import Study

app = typer.Typer(help="Run and look at studies.", no_args_is_help=True, rich_markup_mode=None)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A study's YAML file.", show_default=False)]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A study folder.", show_default=False)]
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
WarmStart = Annotated[
    Path | None,
    typer.Option("--warm-start", metavar="DIR", help="Another study of the same task, to learn from at the start."),
]
BudgetLimit = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME|EPOCHS", help="What it may cost: 30m, 2h, or a number of epochs."),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Trust a study that another user has begun: its code, its database. Once for all."),
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
    _go(study, engine, address, lanes, width, track, until, warm_start)


@app.command()
def resume(
    folder: Folder,
    engine: EngineName = None,
    address: Address = None,
    lanes: Lanes = None,
    track: Track = None,
    until: Until = None,
    trust: Trust = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="task.NAME=PATH", help="Where files have moved; repeatable.")
    ] = None,
) -> None:
    """Go on with an interrupted study; nothing that was finished is done again."""
    from lab.record.spec_file import parse_override, read_spec
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    if set_:
        study.require_own()  # what is made of its spec is the caller's own
        overrides = dict(parse_override(text) for text in set_)
        study = Study.from_spec(read_spec(study.record.spec_path, overrides), folder)
    _go(study, engine, address, lanes, None, track, until)


@app.command()
def extend(
    folder: Folder,
    trials: Annotated[str, typer.Option(metavar="+N|N", help="So many more trials, or so many in all.")] = "+0",
    set_: Sets = None,
    engine: EngineName = None,
    address: Address = None,
    lanes: Lanes = None,
    track: Track = None,
    trust: Trust = False,
) -> None:
    """Go on searching where a study ended, also in a wider space (--set space.x.high=...); then conclude anew."""
    from lab.record.spec_file import parse_override, read_spec
    from lab.study.data import open_data
    from lab.study.extend import extend
    from lab.study.study import Study, check_components

    study = Study.open(folder, trust=trust)
    study.require_own()
    overrides = dict(parse_override(text) for text in set_ or [])
    overrides["search.trials"] = _more(trials, study.spec.search.trials)
    new = read_spec(study.record.spec_path, overrides)
    check_components(new)
    open_data(new, study.record)  # refuses what would stop the study after its conclusions were put aside
    aside = extend(study.record, new)
    say(f"what was concluded before is kept in {aside}")
    _go(Study.open(folder), engine, address, lanes, None, track, None)


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
) -> None:
    """Print the resolved spec, the number of trainings and an estimate of the cost; trains nothing."""
    from lab.record.spec_file import dump_spec
    from lab.study.estimate import estimate
    from lab.study.progress import logged
    from lab.study.study import check_components
    from lab.study.undecided import with_undecided

    read = _read(spec, set_, budget)
    check_components(read)
    read = with_undecided(read, load=probe)
    with logged(partial(say, file=sys.stderr)):
        cost = estimate(read, probe)
    say(dump_spec(read).rstrip())
    say()
    for line in cost:
        say(line)


@app.command()
def status(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing nodes, lanes and pace until it ends.")] = False,
    trust: Trust = False,
) -> None:
    """Where a study is: stages, trials by outcome, best so far; and, while it runs, its nodes and lanes."""
    from lab.study.status import describe_status, status_of, watch_status
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    if watch:
        watch_status(study)
    else:
        status_now = status_of(study)
        say(json.dumps(status_now, indent=1) if as_json else describe_status(status_now))


@app.command()
def show(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    trust: Trust = False,
) -> None:
    """What a study has found: the best setup, what it is worth, what is handed out, what matters, what to do next."""
    from lab.record.artefact import to_json
    from lab.report.summary import summary_lines
    from lab.study.study import Study

    found = Study.open(folder, trust=trust).result.summary
    say(json.dumps(to_json(found), indent=1) if as_json else "\n".join(summary_lines(found)))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Study folders.", show_default=False)],
    trust: Trust = False,
) -> None:
    """Studies side by side: what was confirmed, what it is worth, what it cost."""
    from lab.report.summary import comparison
    from lab.study.study import Study

    found = {str(folder): Study.open(folder, trust=trust).result.summary for folder in folders}
    say(comparison(found).to_string())


@app.command()
def dashboard(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="On this machine only; 0: any that is free.")] = 8080,
    trust: Trust = False,
) -> None:
    """Show a study's trials in a browser with optuna-dashboard, also while it runs; changes nothing, Ctrl-C ends it."""
    import contextlib

    from lab.study.dashboard import server
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    with server(study.record, study.spec.store, port) as serving, contextlib.suppress(KeyboardInterrupt):
        say(serving.url)
        serving.serve_forever()


@app.command()
def report(folder: Folder, trust: Trust = False) -> None:
    """Write a study's report anew."""
    from lab.report.page import write_report
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    say(write_report(study.spec, study.record))


@app.command()
def prune(
    folder: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and delete nothing.")] = False,
    trust: Trust = False,
) -> None:
    """Delete the weights of a finished study that what it hands out does not need, and say what that frees."""
    from lab.study.prune import prune
    from lab.study.study import Study

    prune(Study.open(folder, trust=trust), say, dry_run)


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where studies lie.")] = Path("runs"),
) -> None:
    """List the studies in a folder."""
    from lab.record.folder import Record
    from lab.stages import STAGES

    if not folder.is_dir():
        raise SpecError(str(folder), "is not a folder")
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise SpecError(str(folder), f"cannot be read ({error.strerror})") from error
    records = [Record(path) for path in paths if os.access(path, os.X_OK) and Record(path).exists()]
    for record in records:
        done = [stage for stage in STAGES if stage.is_complete(record)]
        state = "complete" if len(done) == len(STAGES) else f"{len(done)} of {len(STAGES)} stages"
        say(f"{record.folder}  {state}")
    if not records:
        say(f"no studies in {folder}")


@app.command()
def export(
    folder: Folder,
    to: Annotated[Literal["csv", "parquet"], typer.Option("--to", help="Format.")] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", help="Default: trials.csv or trials.parquet there.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Write every trial as one flat table."""
    import io

    from lab.cli.predict import harmless
    from lab.record.folder import write_bytes
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    frame: Any = study.result.trials
    path = output or folder / f"trials.{to}"
    if to == "csv":
        frame, _ = harmless(frame)  # what a trial raised may begin as a spreadsheet's formula does
    stream = io.BytesIO()
    (frame.to_csv if to == "csv" else frame.to_parquet)(stream, index=False)
    write_bytes(path, stream.getvalue())
    say(f"{len(frame)} trials in {path}")
