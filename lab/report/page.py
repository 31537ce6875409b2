"""One self-contained HTML page per study: opens without a network, says what was found and how sure it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab.errors import RecordError, plain
from lab.record.folder import Record, write_bytes
from lab.record.spec_file import dump_spec
from lab.record.trials import TrialRow, failures, read_stages
from lab.report.artefacts import Artefacts
from lab.report.number import number
from lab.report.search_gain import search_gain
from lab.report.summary import summary_of
from lab.schedules import Schedule
from lab.spec.space import ends
from lab.spec.study import StudySpec
from lab.stages import TRAINS
from lab.stages.bounds import Bounds
from lab.stages.confirm import Confirmed
from lab.stages.ensemble import ChosenEnsemble, Ensembled
from lab.stages.explore import Explored
from lab.stages.job import best_first
from lab.stages.refit import Refitted
from lab.tasks.beside import Beside

try:
    from plotly.offline import get_plotlyjs

    from lab.report import plots, trial_plots
except ImportError:  # a machine without plotly still gets its page
    get_plotlyjs = None

_TOP = 5


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
    rows, summary = trials["explore"], summary_of(spec, record.folder, artefacts, trials)
    beside = Beside()
    environment = Environment(
        loader=PackageLoader("lab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = number
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    return environment.get_template("page.html.j2").render(
        spec=spec,
        spec_yaml=dump_spec(spec.model_copy(update={"provenance": {}})),
        provenance={k: v for k, v in spec.provenance.items() if k != "probe"},
        probe=spec.provenance.get("probe"),
        data=record.task(),
        extended=len(list(record.folder.glob("before-*-trials*"))),
        summary=summary,
        ink=plots.INK if get_plotlyjs else "",
        strayed=_strayed(spec, artefacts.bounds, artefacts.confirm),
        bounds=artefacts.bounds,
        short_trainings=_short_trainings(spec, artefacts.bounds),
        explore=artefacts.explore,
        explain=artefacts.explain,
        explained=artefacts.explained,
        confirm=artefacts.confirm,
        search_gain=search_gain(artefacts.confirm) if artefacts.confirm else None,
        ensemble=artefacts.ensemble,
        final=artefacts.final,
        refit=artefacts.refit,
        handed=artefacts.handed,
        skipped=artefacts.skipped,
        plots=_figures(spec, artefacts, artefacts.explore, rows, beside),
        lacks=(*artefacts.lacks, *beside.lacks),
        plotlyjs=get_plotlyjs() if get_plotlyjs else None,
        folder=plain(str(record.folder.resolve())),
        failures=failures(rows),
        best_rows=_best(rows, artefacts.explore.direction)[:_TOP],
        param_names=list(spec.space),
    )


def _short_trainings(spec: StudySpec, tested: Bounds | None) -> str:
    """How many short trainings the bounds stage had, and what they cost."""
    if tested is None or not tested.tried:
        return ""
    count, epochs = tested.short_trainings, spec.search.epochs
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


def _best(rows: list[TrialRow], direction: str) -> list[TrialRow]:
    return best_first([row for row in rows if row.score is not None], direction)


def _figures(
    spec: StudySpec, artefacts: Artefacts, explored: Explored, rows: list[TrialRow], beside: Beside
) -> dict[str, Any]:
    """Each plot as plotly JSON by the id of its place on the page; one that cannot be drawn is left out."""
    if get_plotlyjs is None:
        return {}
    metric, direction = explored.metric, explored.direction
    best = _best(rows, direction)[:_TOP]
    made: dict[str, Any] = {}

    def add(name: str, make: Callable[[], Any]) -> None:
        drawn = beside.made(f"plot {name}", lambda: json.loads(make().to_json()), None)
        if drawn is not None:
            made[name] = drawn

    if artefacts.bounds and artefacts.bounds.runs:
        add("range-test", partial(plots.range_test_figure, artefacts.bounds))
    add("history", lambda: plots.history_figure(rows, metric, direction))
    if best:
        add("parallel", lambda: trial_plots.parallel_figure(rows, list(spec.space), metric, direction))
        add("slices", lambda: trial_plots.slice_figure(rows, list(spec.space), metric))
    explained = artefacts.explained
    if explained and explained.measures:
        add("importances", partial(plots.importance_figure, explained.measures))
    if explained and not explained.withheld:
        for effect in explained.effects:
            add(f"effect-{effect.name}", partial(plots.effect_figure, effect, explained.explains))
        if explained.surface:
            add("surface", partial(plots.surface_figure, explained.surface, explained.explains))
    add("curves", lambda: plots.curves_figure(rows, metric, [row.number for row in best]))
    schedules = _schedules(spec, artefacts, best)
    if schedules:
        add("schedules", lambda: plots.schedules_figure(schedules, spec.search.epochs))
    ensembled, handed = artefacts.ensemble, artefacts.handed
    if ensembled and handed:
        add("controls", _controls(ensembled, handed))
    return made


def _controls(ensembled: Ensembled, handed: Refitted | ChosenEnsemble) -> Callable[[], Any]:
    metric = ensembled.metric
    return partial(plots.controls_figure, ensembled.controls, handed.test[metric], metric)


def _schedules(spec: StudySpec, artefacts: Artefacts, best: list[TrialRow]) -> dict[str, Schedule]:
    """The confirmed setups' schedules, else the best trials'."""
    recipe = spec.schedule
    chosen = artefacts.confirm.chosen.all if artefacts.confirm else ()
    names = {"one_cycle": "best 1cycle", "several": "best cyclical"}
    confirmed = {names[candidate.kind]: recipe.schedule(candidate.params) for candidate in chosen}
    return confirmed or {f"trial {row.number}": recipe.schedule(row.params) for row in best}
