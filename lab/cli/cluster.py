"""`lab cluster ...`: run studies on a Ray cluster from a machine outside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.say import say
from lab.errors import RecordError, plain

if TYPE_CHECKING:
    from lab.lanes.ray.jobs import ClusterJobs

app = typer.Typer(help="Run studies on a Ray cluster.", no_args_is_help=True, rich_markup_mode=None)

Address = Annotated[str, typer.Option(metavar="http://HEAD:8265", help="The cluster's job server.", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="As 'submit' printed it.", show_default=False)]


@app.command()
def submit(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A study's YAML file.", show_default=False)],
    address: Address,
    dir: Annotated[  # noqa: A002
        str | None, typer.Option("--dir", help="The study folder on the cluster's head; default: ~/lab-runs/NAME.")
    ] = None,
    lanes: Annotated[int | None, typer.Option(min=1, help="Lanes; default: as many as the cluster has.")] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")] = None,
    track: Annotated[str | None, typer.Option(metavar="wandb", help="Log the study to W&B, from the cluster.")] = None,
    track_trials: Annotated[
        str | None, typer.Option("--track-trials", metavar="best|all|none", help="Trials with runs of their own there.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the spec; repeatable.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
) -> None:
    """Send a study to a cluster and show its log; it goes on when this machine sleeps.

    The same study sent again goes on where it was.
    """
    from lab.record.spec_file import parse_override, read_spec
    from lab.study.check import check_components

    read = read_spec(spec, dict(parse_override(text) for text in set_ or []))
    check_components(read)
    jobs = _jobs(address)
    options = {"--lanes": lanes, "--until": until, "--track": track, "--track-trials": track_trials}
    flags = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    job = jobs.submit(read, flags, dir)
    say(job)
    if detach:
        return
    try:
        for text in jobs.follow(job):
            print(plain(text), end="", flush=True)
    except KeyboardInterrupt:
        say(f"\n{job} goes on; see: lab cluster status {job} --address {address}", file=sys.stderr)


@app.command()
def status(
    address: Address,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Default: all.", show_default=False)] = None,
    lines: Annotated[int, typer.Option(min=0, help="Lines of the log's end, for one job.")] = 10,
) -> None:
    """Where the studies on a cluster are."""
    jobs = _jobs(address)
    for state in [jobs.state(job)] if job else jobs.jobs():
        say(f"{state.job}  {state.status.lower()}  {state.message}".rstrip())
    if job and lines:
        say("\n".join(jobs.logs(job).splitlines()[-lines:]))


@app.command()
def stop(job: JobId, address: Address) -> None:
    """Let a study end its epoch, save and stop; sent again, it goes on."""
    state = _jobs(address).stop(job)
    say(f"{state.job}  {state.status.lower()}")


@app.command()
def fetch(
    job: JobId,
    address: Address,
    to: Annotated[Path | None, typer.Option("--to", help="Default: runs/NAME, as it is named there.")] = None,
) -> None:
    """Copy a study's folder from the cluster to this machine."""
    jobs = _jobs(address)
    target = to or Path("runs") / Path(jobs.folder(job)).name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecordError(f"{target}: is not empty; choose another --to")
    say(f"{jobs.fetch(job, target)} files in {target}")


@app.command(hidden=True)
def pack(folder: Path) -> None:
    """Write a study's folder to standard output as text; what 'fetch' runs on the cluster."""
    from lab.lanes.ray.jobs import write_study
    from lab.record.folder import Record

    write_study(Record(folder).require().folder)


def _jobs(address: str) -> ClusterJobs:
    from lab.lanes.ray.jobs import ClusterJobs

    jobs = ClusterJobs(address)
    for line in jobs.warnings:
        say(f"lab: {line}", file=sys.stderr)
    return jobs
