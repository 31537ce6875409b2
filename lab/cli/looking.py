"""What looks at a study's folder: its state, what was found, its trials; and what is deleted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lab.cli.answers import ListedStudy, StudyList
from lab.cli.say import AsJson, say, say_answer
from lab.errors import TRUST, LabError, RecordError, SpecError, StudyError

if TYPE_CHECKING:
    from lab.study.study import Study

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A study folder.", show_default=False)]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Trust a study that another user has begun: its code, its database. Once for all."),
]


def status(
    folder: Folder,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing nodes, lanes and pace until it ends.")] = False,
    trust: Trust = False,
) -> None:
    """Where a study is: stages, trials by outcome, best so far; and, while it runs, its nodes and lanes."""
    from lab.study.status import describe_status, status_of, watch_status
    from lab.study.study import Study

    if watch and as_json:
        raise SpecError("--watch", "shows lines as they change; --json is one object")
    study = Study.open(folder, trust=trust)
    if watch:
        watch_status(study)
    elif as_json:
        say_answer(status_of(study))
    else:
        say(describe_status(status_of(study)))


def show(
    folder: Folder,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """What a study has found: the best setup, what it is worth, what is handed out, what matters, what to do next."""
    from lab.report.summary import summary_lines
    from lab.study.study import Study

    summary = Study.open(folder, trust=trust).result.summary
    if as_json:
        say_answer(summary)
    else:
        say("\n".join(summary_lines(summary)))


def ask(
    folder: Folder,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter; else the confirmed one.")
    ] = None,
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """What the forest expects of a setting, how sure that is, and the trials nearest to it."""
    from lab.record.spec_file import parse_override
    from lab.report.number import number
    from lab.stages.what_if import LEVEL
    from lab.study.study import Study

    answer = Study.open(folder, trust=trust).result.response.predict(dict(map(parse_override, set_ or [])))
    if as_json:
        say_answer(answer)
        return
    settings = ", ".join(f"{name} {number(value)}" for name, value in answer.params.items())
    say(f"setting   {settings}")
    say(f"expected  {answer.what} {number(answer.mean)} ({number(answer.low)} to {number(answer.high)}, {LEVEL:.0%})")
    if answer.doubt:
        say(f"warning   do not believe it: {answer.doubt}")
    for trial in answer.near:
        of_trial = ", ".join(f"{name} {number(trial.params.get(name))}" for name in answer.params)
        say(f"near      trial {trial.number}: {number(trial.score)} at {of_trial}")


def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR...", help="Study folders.", show_default=False)],
    as_json: AsJson = False,
    trust: Trust = False,
) -> None:
    """Studies side by side: what was confirmed, what it is worth, what it cost."""
    from lab.report.summary import Comparison, comparison
    from lab.study.study import Study

    summaries = {str(folder): Study.open(folder, trust=trust).result.summary for folder in folders}
    if as_json:
        say_answer(Comparison(summaries))
        return
    say(comparison(summaries).to_string())


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


def report(
    folder: Folder,
    to: Annotated[
        Literal["html", "wandb", "wandb-report"],
        typer.Option(
            "--to", help="wandb: log the study to W&B as well, as far as it came; wandb-report: and report there."
        ),
    ] = "html",
    track_trials: Annotated[
        str, typer.Option("--track-trials", metavar="best|all|none", help="Trials with runs of their own in W&B.")
    ] = "best",
    trust: Trust = False,
) -> None:
    """Write a study's report anew."""
    from lab.report.page import write_report
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    say(write_report(study.spec, study.record))
    if to != "html":
        _log_whole(study, track_trials, reports=to == "wandb-report")


def _log_whole(study: Study, track_trials: str, reports: bool) -> None:
    """Log a study to W&B at once.

    Raises:
        SpecError: wandb is not there, or has no key.
        RecordError: another user has begun the study; what it holds is not sent in this user's name.
        StudyError: the service refuses, or does not answer.
    """
    from lab.report.wandb_runs.service import check_wandb, exit_without_waiting
    from lab.report.wandb_runs.study_run import WandbTracker
    from lab.report.wandb_runs.workspace_report import check_workspaces
    from lab.study.tracking import in_a_line, log_whole, trials_tracked

    if study.spec.task.foreign:
        raise RecordError(f"--to wandb: {study.record.folder} is sent nowhere, and you have not begun it here; {TRUST}")
    which = trials_tracked(track_trials)
    check_wandb()
    if reports:
        check_workspaces()
    try:
        logger = WandbTracker(study.spec, study.record, which, whole=True)
        log_whole(study.record, logger)
        address = logger.save_report() if reports else None
    except LabError:
        raise
    except Exception as error:  # whatever is wrong with a service, the network or a key
        exit_without_waiting()
        raise StudyError(f"W&B: {in_a_line(error)}; the report itself is written") from error
    except BaseException:  # Ctrl-C
        exit_without_waiting()
        raise
    say(f"tracking  {logger.where}")
    if address is not None:
        say(f"report    {address}")


def prune(
    folder: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and delete nothing.")] = False,
    trust: Trust = False,
) -> None:
    """Delete the weights of a finished study that nothing needs any more, and what was interrupted beside it."""
    from lab.study.prune import prune
    from lab.study.study import Study

    prune(Study.open(folder, trust=trust), say, dry_run)


def list_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where studies lie.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """List the studies in a folder."""
    from lab.record.folder import records_in
    from lab.stages import STAGES

    if not folder.is_dir():
        raise SpecError(str(folder), "is not a folder")
    records = records_in(folder)
    done = [(record, [stage.name for stage in STAGES if stage.is_complete(record)]) for record in records]
    if as_json:
        say_answer(StudyList([ListedStudy(str(r.folder), len(s) == len(STAGES), s) for r, s in done]))
        return
    for record, stages in done:
        state = "complete" if len(stages) == len(STAGES) else f"{len(stages)} of {len(STAGES)} stages"
        say(f"{record.folder}  {state}")
    if not records:
        say(f"no studies in {folder}")


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


COMMANDS: Mapping[str, Callable[..., None]] = {
    "status": status,
    "show": show,
    "ask": ask,
    "compare": compare,
    "dashboard": dashboard,
    "report": report,
    "prune": prune,
    "list": list_,
    "export": export,
}
