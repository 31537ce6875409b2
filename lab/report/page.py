"""One self-contained HTML page per study: opens without a network, says what was found and how sure it is."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab.errors import RecordError, install_extra, plain
from lab.record.folder import Record, write_bytes
from lab.record.spec_file import dump_spec
from lab.record.trials import failures, read_stages
from lab.report.artefacts import Artefacts
from lab.report.column_importance import columns_line
from lab.report.contents import with_contents
from lab.report.cost import cost_by_stage, duration
from lab.report.diagnostic_plots import plot_id
from lab.report.drawn import TOP, best_of, drawn
from lab.report.final_plot import ROLES
from lab.report.front import fronts
from lab.report.glossary import with_glossary
from lab.report.number import number
from lab.report.packing import packed
from lab.report.plots import INK, MOST
from lab.report.search_gain import search_gain
from lab.report.summary import summary_of
from lab.report.trial_table import BEST, trial_table
from lab.spec.snapshot_file import snapshot_of
from lab.spec.space import ends
from lab.spec.study import StudySpec
from lab.stages import TRAINS, short_trials
from lab.stages.bounds import Bounds
from lab.stages.confirm import Confirmed
from lab.tasks.beside import Beside

_PLOTLY = "plotly-cartesian.min.js.gz"
"""plotly.js 4.1.1 with the kinds of plots that a page has: `plotly.js-cartesian-dist-min` of npm, packed by gzip. The
browser unpacks it. The whole of it, which plotly brings, takes eight times the room: most of a page."""


_MEMBERS = 30
"""Members of an ensemble that are shown one by one."""


def has_plotly() -> bool:
    """Whether figures can be made; a machine without plotly still gets its page."""
    return find_spec("plotly") is not None


def packed_plotly() -> str:
    """The script that draws, packed, in base64."""
    return base64.b64encode(files("lab.report").joinpath("templates", _PLOTLY).read_bytes()).decode()


def write_report(spec: StudySpec, record: Record) -> Path:
    """Write `report.html` from what the record holds so far.

    Raises:
        RecordError: the study has not even explored.
    """
    path = record.folder / Record.REPORT
    write_bytes(path, render(spec, record).encode())
    return path


def render(spec: StudySpec, record: Record) -> str:
    """The page as a string."""
    artefacts = Artefacts.of(record)
    if artefacts.explore is None:
        raise RecordError(f"{record.folder}: stage 'explore' is not complete; there is nothing to report yet")
    trials = read_stages(record, TRAINS, spec.store)
    rows = trials["explore"]
    blocks = fronts(spec, rows, artefacts.explore.metric, artefacts.explore.direction)
    summary = summary_of(spec, record.folder, artefacts, trials, blocks)
    beside, draws = Beside(), has_plotly()
    plots = drawn(spec, artefacts, artefacts.explore, trials, blocks, beside) if draws else {}
    template = templates().get_template("page.html.j2")
    page = template.render(
        spec=spec,
        spec_yaml=dump_spec(spec.model_copy(update={"provenance": {}})),
        provenance={k: v for k, v in spec.provenance.items() if k != "probe"},
        probe=spec.provenance.get("probe"),
        data=record.task(),
        extended=len(list(record.folder.glob("before-*-trials*"))),
        summary=summary,
        ink=INK,
        strayed=_strayed(spec, artefacts.bounds, artefacts.confirm),
        bounds=artefacts.bounds,
        short_trainings=_short_trainings(spec, artefacts.bounds),
        explore=artefacts.explore,
        explain=artefacts.explain,
        explained=artefacts.explained,
        confirm=artefacts.confirm,
        search_gain=search_gain(artefacts.confirm) if artefacts.confirm else None,
        ensemble=artefacts.ensemble,
        columns_line=columns_line,
        final=artefacts.final,
        refit=artefacts.refit,
        handed=artefacts.handed,
        tested=artefacts.tested,
        roles=ROLES,
        costs=cost_by_stage(trials),
        every_trial=trial_table(trials, list(spec.space), artefacts.explore.direction),
        rows_at_first=BEST,
        most_members=_MEMBERS,
        first_round=artefacts.first_round,
        second=artefacts.second,
        skipped=artefacts.skipped,
        plots=plots,
        packed_plots=packed({name: one.figure for name, one in plots.items()}),
        stills_need=install_extra("pictures"),
        most=MOST,
        lacks=(*artefacts.lacks, *beside.lacks),
        plotlyjs=packed_plotly() if draws else None,
        folder=plain(str(record.folder.resolve())),
        failures=failures(rows),
        fronts=blocks,
        best_rows=best_of(rows, artefacts.explore.direction)[:TOP],
        param_names=list(spec.space),
    )
    return with_contents(with_glossary(page))


@cache
def templates() -> Environment:
    """The templates, which are compiled once in a process, with what they call."""
    environment = Environment(
        loader=PackageLoader("lab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    environment.filters["picture"] = _picture
    environment.filters["duration"] = duration
    environment.globals |= {"plot_id": plot_id, "snapshot_of": snapshot_of}
    return environment


def _picture(address: Any) -> str:
    """A picture's address, if it holds the picture: a page asks no network for one."""
    return address if isinstance(address, str) and address.startswith("data:image/") else "data:,"


def _short_trainings(spec: StudySpec, tested: Bounds | None) -> str:
    """How many short trainings the bounds stage had, and what they cost."""
    if tested is None or not tested.tried:
        return ""
    count, epochs = tested.short_trainings, short_trials.epochs_of(spec)
    return f"{count} 1cycle trainings of {epochs} epochs at {len(tested.tried)} rates ({count * epochs} epochs)"


@dataclass(frozen=True)
class _Strayed:
    """A max_lr, and how many times as `large` or `small` as the suggested one it is."""

    max_lr: float
    factor: int
    side: str


def _strayed(spec: StudySpec, tested: Bounds | None, confirmed: Confirmed | None) -> _Strayed | None:
    """The confirmed 1cycle's max_lr, where it lies further than a decade from what the range test suggested, and the
    trials could have gone there."""
    if not tested or not confirmed:
        return None
    params, suggestion = confirmed.chosen.one_cycle.params, tested.suggestion
    if "max_lr" not in params or any(params.get(name, value) != value for name, value in tested.at.items()):
        return None  # another optimizer or batch size than the one tested
    max_lr = float(params["max_lr"])
    ratio = max_lr / suggestion
    ends_of_range = ends(spec.space["max_lr"]) or (tested.low, tested.high)
    searched = [float(value) for value in ends_of_range if isinstance(value, (int, float))]
    if 0.1 <= ratio <= 10 or not searched or not min(searched) <= suggestion <= max(searched):
        return None
    return _Strayed(max_lr, round(max(ratio, 1 / ratio)), "large" if ratio > 1 else "small")
