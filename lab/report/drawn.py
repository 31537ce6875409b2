"""Every plot of a study's page: as plotly draws it, in words, and as a still picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lab.record.trials import TrialRow
from lab.report import diagnostic_plots, plots, trial_plots
from lab.report.artefacts import Artefacts
from lab.report.column_importance import columns_figure, columns_line
from lab.report.cost import cost_by_stage, duration
from lab.report.diagnostic_plots import plot_id
from lab.report.final_plot import final_figure
from lab.report.front import FrontBlock
from lab.report.front_plot import front_figure
from lab.report.number import number
from lab.report.still import WIDTH, can_draw, still
from lab.response.findings import Effect
from lab.schedules import Schedule
from lab.spec.study import StudySpec
from lab.stages.ensemble import Baseline
from lab.stages.explore import Explored
from lab.stages.job import best_first
from lab.tasks.beside import Beside

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP = 5
"""Trials that are shown as the best."""
_NARROW = 12
"""Classes whose matrix takes half of the page."""
_HALF = 540
"""Pixels of a picture of which two stand side by side."""


@dataclass(frozen=True)
class Drawn:
    """A plot of the page."""

    figure: Mapping[str, Any]
    """Plotly's JSON."""
    says: str
    """What it shows, for who does not see it."""
    still: str | None
    """The picture where there is no JavaScript, as a `data:` address; None without matplotlib."""


def best_of(rows: Sequence[TrialRow], direction: str) -> list[TrialRow]:
    """Trials that have a score, the best first."""
    return best_first([row for row in rows if row.score is not None], direction)


def drawn(
    spec: StudySpec,
    artefacts: Artefacts,
    explored: Explored,
    trials: Mapping[str, Sequence[TrialRow]],
    fronts: Sequence[FrontBlock],
    beside: Beside,
) -> dict[str, Drawn]:
    """Each plot by the id of its place on the page; one that cannot be drawn is left out. `trials` are by stage."""
    rows = list(trials["explore"])
    metric, direction = explored.metric, explored.direction
    best = best_of(rows, direction)[:TOP]
    made: dict[str, Drawn] = {}
    stills = can_draw()

    def add(name: str, says: str, make: Callable[[], Figure], width: int = WIDTH) -> None:
        def both() -> Drawn:
            figure = make()
            picture = beside.made(f"still of plot {name}", partial(_address, figure, width), None) if stills else None
            return Drawn(json.loads(figure.to_json(), parse_float=_seven_digits), says, picture)

        one = beside.made(f"plot {name}", both, None)
        if one is not None:
            made[name] = one

    tested = artefacts.bounds
    if tested and tested.runs:
        says = (
            f"Training loss over the learning rate, from {number(tested.runs[0].lrs[0], 2)} on; the suggestion is"
            f" {number(tested.suggestion, 2)}, the range to search {number(tested.low, 2)} to {number(tested.high, 2)}."
        )
        add("range-test", says, partial(plots.range_test_figure, tested))
    reached = f", the best {number(best[0].score)} by trial {best[0].number}" if best else ""
    add(
        "history",
        f"The {metric} of {len(rows)} trials in the order in which they were proposed{reached}.",
        lambda: plots.history_figure(rows, metric, direction),
    )
    if best:
        names = list(spec.space)
        listed = ", ".join(names)
        add(
            "parallel",
            f"Trials as lines through {listed} to their {metric}; the settings of the best stand in the table below.",
            lambda: trial_plots.parallel_figure(rows, names, metric, direction),
        )
        add(
            "slices",
            f"The {metric} of every trial by each of {listed}.",
            lambda: trial_plots.slice_figure(rows, names, metric, direction),
        )
    for block in fronts:
        says = f"The {metric} of trials by their {block.front.cost}; of those that no other beats: {block.front.line}."
        figure = partial(front_figure, rows, block.rows, block.front.cost, metric, direction, spec.search.limits)
        add(f"front-{block.front.cost}", says, figure)
    explained = artefacts.explained
    if explained and explained.measures:
        shares = explained.measures["permutation"]
        ordered = sorted(shares, key=lambda name: -shares[name].share)
        listed = ", ".join(f"{name} {shares[name].share:.0%}" for name in ordered)
        says = f"Importance of each hyperparameter by {len(explained.measures)} measures; by permutation: {listed}."
        add("importances", says, partial(plots.importance_figure, explained.measures))
    if explained and not explained.withheld:
        what = explained.explains
        for effect in explained.effects:
            says = _says_of_effect(effect, what, explained.explains_direction)
            add(f"effect-{effect.name}", says, partial(plots.effect_figure, effect, what), _HALF)
        if surface := explained.surface:
            says = f"The forest's mean {what} over {' and '.join(surface.names)} together."
            add("surface", says, partial(plots.surface_figure, surface, what))
    of_best = ", ".join(str(row.number) for row in best)
    add(
        "curves",
        f"The {metric} after each epoch; trials {of_best}, the best, stand out from the others.",
        lambda: plots.curves_figure(rows, metric, [row.number for row in best]),
    )
    schedules = _schedules(spec, artefacts, best)
    if schedules:
        add(
            "schedules",
            f"Learning rate over {spec.search.epochs} epochs: {', '.join(schedules)}.",
            lambda: plots.schedules_figure(schedules, spec.search.epochs),
        )
    ensembled, handed = artefacts.ensemble, artefacts.handed
    if ensembled and handed:
        scored, out = ensembled.metric, handed.test[ensembled.metric]
        baselines = [one for one in ensembled.baselines if isinstance(one, Baseline)]
        said = [(way.name, way.test[scored].mean) for way in ensembled.controls]
        said += [(f"baseline {one.name}", one.like_handed_out[scored]) for one in baselines]
        listed = "; ".join(f"{name} {number(score)}" for name, score in said)
        says = f"Test {scored} of every way to spend the budget, with what is handed out at {number(out)}: {listed}."
        add("controls", says, partial(plots.controls_figure, ensembled.controls, out, scored, baselines))
    if final := artefacts.final:
        says = f"The {final.metric} of the final models after each epoch, and where their snapshots were taken."
        curves = partial(final_figure, final.runs, trials.get("final", ()), spec.schedule, final.metric)
        add("final-curves", says, curves)
    for wanted in _of_test_rows(artefacts):
        add(*wanted)
    if costs := cost_by_stage(trials):
        listed = ", ".join(f"{one.stage} {one.epochs} epochs in {duration(one.training_s)}" for one in costs)
        add("cost", f"What each stage has trained: {listed}.", partial(plots.cost_figure, costs))
    if ensembled and (columns := ensembled.column_importances):
        add("columns", columns_line(columns), partial(columns_figure, columns))
    return made


def _of_test_rows(artefacts: Artefacts) -> Iterator[tuple[str, str, Callable[[], Figure], int]]:
    """The plots of what was counted on the test split, by target: id, words, figure, width of the picture."""
    every = artefacts.tested.diagnostics if artefacts.tested else ()
    for index, one in enumerate(every):
        confusion, reliability, residuals = one.confusion, one.reliability, one.residuals
        if confusion and confusion.counts:
            at, says = plot_id("confusion", index, every), diagnostic_plots.says_of_confusion(confusion)
            width = _HALF if confusion.classes <= _NARROW else WIDTH
            yield at, says, partial(diagnostic_plots.confusion_figure, confusion), width
        if reliability and reliability.bins:
            at, says = plot_id("reliability", index, every), diagnostic_plots.says_of_reliability(reliability)
            yield at, says, partial(diagnostic_plots.reliability_figure, reliability), _HALF
        if residuals:
            at, says = plot_id("predicted", index, every), diagnostic_plots.says_of_residuals(residuals, one.target)
            yield at, says, partial(diagnostic_plots.residuals_figure, residuals, one.target), _HALF


def _seven_digits(text: str) -> float:
    """A number as finely as a plot shows it: the other half of its digits would be most of a page of many trials."""
    return float(f"{float(text):.7g}")


def _address(figure: Figure, width: int) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(still(figure, width)).decode()


def _says_of_effect(effect: Effect, what: str, direction: str) -> str:
    sign = 1 if direction == "maximize" else -1
    at, best = max(zip(effect.values, effect.mean, strict=True), key=lambda pair: sign * pair[1])
    return f"The forest's mean {what} as {effect.name} is held: best at {number(at, 2)}, with {number(best)}."


def _schedules(spec: StudySpec, artefacts: Artefacts, best: list[TrialRow]) -> dict[str, Schedule]:
    """The confirmed setups' schedules, else the best trials'."""
    recipe = spec.schedule
    chosen = artefacts.confirm.chosen.all if artefacts.confirm else ()
    names = {"one_cycle": "best 1cycle", "several": "best cyclical"}
    confirmed = {names[candidate.kind]: recipe.schedule(candidate.params) for candidate in chosen}
    return confirmed or {f"trial {row.number}": recipe.schedule(row.params) for row in best}
