"""One self-contained HTML page per study: opens without a network, says what was found and how sure it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lab.errors import RecordError
from lab.record.folder import Record, write_bytes
from lab.record.spec_file import dump_spec
from lab.record.trials import TrialRow, failures, read_trials
from lab.report.verdict import Verdict, verdict
from lab.schedules import Schedule
from lab.spec.space import ends
from lab.spec.study import StudySpec

try:
    from plotly.offline import get_plotlyjs

    from lab.report import plots
except ImportError:  # a machine without plotly still gets its page
    get_plotlyjs = None

_TOP = 5
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "bounds": ("skipped", "runs", "marks"),
    "explore": ("ended", "warm_start"),
    "explain": (
        *("withheld", "importances", "measures", "coverage", "pruned", "out_of_bag_r2", "edges", "effects"),
        *("interactions", "surface", "extrapolation", "gain", "widen"),
    ),
    "confirm": (),
    "final": (),
    "ensemble": ("skipped", "baselines", "examples"),
}
"""Stages, with the entries of their artefacts that may be missing: the template finds None there, and nowhere else."""


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
    found = {stage: _complete(stage, record.artefact(stage)) for stage in _OPTIONAL}
    if found["explore"] is None:
        raise RecordError(f"{record.folder}: stage 'explore' is not complete; there is nothing to report yet")
    rows = read_trials(record, "explore", spec.store)
    environment = Environment(
        loader=PackageLoader("lab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["number"] = _number
    environment.filters["percent"] = lambda value: "-" if value is None else f"{100 * value:.1f} %"
    return environment.get_template("page.html.j2").render(
        spec=spec,
        spec_yaml=dump_spec(spec.model_copy(update={"provenance": {}})),
        provenance={k: v for k, v in spec.provenance.items() if k != "probe"},
        probe=spec.provenance.get("probe"),
        data=record.task(),
        extended=len(list(record.folder.glob("before-*-trials*"))),
        verdict=_verdict(found["explain"], record),
        beaten_by=_beaten_by(found["ensemble"], found["explore"]["direction"]),
        strayed=_strayed(spec, found["bounds"], found["confirm"]),
        **found,
        plots=_figures(spec, found, rows),
        plotlyjs=get_plotlyjs() if get_plotlyjs else None,
        folder=record.folder.resolve(),
        failures=failures(rows),
        best_rows=_best(rows, found["explore"]["direction"])[:_TOP],
        param_names=list(spec.space),
    )


def _verdict(explain: dict[str, Any] | None, record: Record) -> Verdict | None:
    return verdict(explain, record.folder) if explain and "tree_std" in explain else None


def _beaten_by(ensemble: dict[str, Any] | None, direction: str) -> dict[str, Any] | None:
    """The best baseline, where it is better than the chosen ensemble."""
    fitted = [b for b in (ensemble or {}).get("baselines") or () if "test" in b]
    if not ensemble or ensemble.get("skipped") or not fitted:
        return None
    metric, sign = ensemble["metric"], 1 if direction == "maximize" else -1
    best: dict[str, Any] = max(fitted, key=lambda baseline: sign * baseline["test"][metric])
    return best if sign * best["test"][metric] > sign * ensemble["chosen"]["test"][metric] else None


def _strayed(spec: StudySpec, bounds: dict[str, Any] | None, confirm: dict[str, Any] | None) -> dict[str, Any] | None:
    """The confirmed 1cycle's max_lr, where it lies further than a decade from what the range test suggested, and the
    trials could have gone there."""
    if not bounds or bounds.get("skipped") or not confirm or not confirm.get("chosen"):
        return None
    params = (confirm["chosen"].get("one_cycle") or {}).get("params", {})
    if "max_lr" not in params or any(params.get(name, value) != value for name, value in bounds.get("at", {}).items()):
        return None  # another optimizer or batch size than the one tested
    suggestion = float(bounds["suggestion"])
    ratio = float(params["max_lr"]) / suggestion
    given = ends(spec.space["max_lr"]) or (bounds["low"], bounds["high"])
    searched = [float(value) for value in given if isinstance(value, (int, float))]
    if 0.1 <= ratio <= 10 or not searched or not min(searched) <= suggestion <= max(searched):
        return None
    return {
        "max_lr": params["max_lr"],
        "factor": round(max(ratio, 1 / ratio)),
        "side": "large" if ratio > 1 else "small",
    }


def _complete(stage: str, artefact: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if artefact is None else dict.fromkeys(_OPTIONAL[stage]) | artefact


def _number(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _best(rows: list[TrialRow], direction: str) -> list[TrialRow]:
    scored = [row for row in rows if row.score is not None]
    return sorted(scored, key=lambda row: row.score or 0.0, reverse=direction == "maximize")


def _figures(spec: StudySpec, found: dict[str, Any], rows: list[TrialRow]) -> dict[str, Any]:
    """Each plot as plotly JSON by the id of its place on the page; effects as a list."""
    if get_plotlyjs is None:
        return {}
    explore = found["explore"]
    metric, direction = explore["metric"], explore["direction"]
    best = _best(rows, direction)[:_TOP]
    made: dict[str, Any] = {}

    def add(name: str, make: Callable[[], Any]) -> None:
        made[name] = json.loads(make().to_json())

    if found["bounds"] and found["bounds"]["runs"]:
        add("range-test", lambda: plots.range_test_figure(found["bounds"]))
    add("history", lambda: plots.history_figure(rows, metric, direction))
    explain = found["explain"] or {}
    if explain.get("measures"):
        add("importances", lambda: plots.importance_figure(explain["measures"]))
    for effect in () if explain.get("withheld") else explain.get("effects") or ():
        add(f"effect-{effect['name']}", partial(plots.effect_figure, effect, explain["explains"]))
    if explain.get("surface") and not explain.get("withheld"):
        add("surface", lambda: plots.surface_figure(explain["surface"], explain["explains"]))
    add("curves", lambda: plots.curves_figure(rows, metric, [row.number for row in best]))
    schedules = _schedules(spec, found, best)
    if schedules:
        add("schedules", lambda: plots.schedules_figure(schedules, spec.search.epochs))
    ensemble = found["ensemble"]
    if ensemble and not ensemble.get("skipped"):
        chosen = ensemble["chosen"]["test"][metric]
        add("controls", lambda: plots.controls_figure(ensemble["controls"], chosen, metric))
    return made


def _schedules(spec: StudySpec, found: dict[str, Any], best: list[TrialRow]) -> dict[str, Schedule]:
    """The confirmed setups' schedules, else the best trials'."""
    recipe = spec.schedule
    chosen = (found["confirm"] or {}).get("chosen") or {}
    named = {"best 1cycle": chosen.get("one_cycle"), "best cyclical": chosen.get("several")}
    confirmed = {name: recipe.schedule(entry["params"]) for name, entry in named.items() if entry}
    return confirmed or {f"trial {row.number}": recipe.schedule(row.params) for row in best}
