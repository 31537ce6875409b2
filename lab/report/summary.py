"""What a study has found, once: every window shows these numbers, and none makes its own."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.record.folder import Record
from lab.record.trials import TrialRow, read_stages
from lab.report.artefacts import Artefacts
from lab.report.cost import Cost, cost_of
from lab.report.front import Front, FrontBlock, fronts
from lab.report.number import number
from lab.report.verdict import Verdict, deciding, good_values, surely_good, verdict
from lab.spec.plan import OWN_LOOP
from lab.spec.space import Params, Value
from lab.spec.study import StudySpec
from lab.stages import TRAINS
from lab.stages.ensemble import Baseline
from lab.stages.explain import Explained

if TYPE_CHECKING:
    import pandas as pd

_LABEL = 10
"""Letters of a line before its text."""
_LAST = ("validation ", "test ", "trainings", "epochs", "training_s")
"""How the rows of a comparison begin that come behind the settings, in their order."""


@dataclass(frozen=True)
class Setting:
    """A hyperparameter as it was confirmed."""

    name: str
    value: Value
    said: str | None
    """What the forest's response says of it; None where it is not to be believed."""


@dataclass(frozen=True)
class Setup:
    """The confirmed setup of one cycle, and what it is worth on seeds that the search never saw."""

    settings: tuple[Setting, ...]
    score: float
    """Without the luck of the choice, where that is known."""
    low: float | None
    """The ends of the 95 % interval over seeds."""
    high: float | None
    seeds: int
    in_search: float | None
    """The score that it was chosen for: one of many noisy ones, and so too good."""

    @property
    def searched(self) -> Params:
        """Its values but for the cycles, which nobody chose: it is the best of those of one."""
        return {setting.name: setting.value for setting in self.settings if setting.name != "cycles"}


@dataclass(frozen=True)
class Way:
    """Another way to a model, with its score on the test split."""

    name: str
    score: float
    baseline: bool
    """Whether it is a model of another kind; else it is another way to spend the same budget."""


@dataclass(frozen=True)
class Handed:
    """What is handed out, on the test split."""

    models: int
    examples: int
    """How many the test split has."""
    score: float
    others: tuple[Way, ...]
    """The best baseline and the best control."""
    better: tuple[Way, ...]
    """Those of them that did better."""


@dataclass(frozen=True)
class Summary:
    """What a study has found so far; what it has not come to is None.

    `metric` is what trials are ranked by, `test_metric` what the models handed out are scored by.
    """

    name: str
    date: str | None
    """The day on which its last training ended, in UTC, as ISO 8601 writes it."""
    data: str
    metric: str
    test_metric: str | None
    setup: Setup | None
    handed: Handed | None
    verdict: Verdict | None
    cost: Cost
    fronts: tuple[Front, ...]
    """What each cost that is traded off or constrained buys."""
    missing: tuple[str, ...]
    """Stages that have not run."""
    commands: tuple[str, ...]
    """What to do next."""


@dataclass(frozen=True)
class Comparison:
    """Studies side by side."""

    studies: Mapping[str, Summary]
    """By folder."""


def summarize(spec: StudySpec, record: Record) -> Summary:
    """The summary of a study's folder.

    Raises:
        RecordError: an artefact is damaged.
    """
    return summary_of(spec, record.folder, Artefacts.of(record), read_stages(record, TRAINS, spec.store))


def summary_of(
    spec: StudySpec,
    folder: Path,
    artefacts: Artefacts,
    trials: Mapping[str, Sequence[TrialRow]],
    blocks: Sequence[FrontBlock] | None = None,
) -> Summary:
    """The summary of what has been read of a study's folder; `trials` are those of the stages that train, by stage.

    Args:
        blocks: the fronts of the search, where they have been found.
    """
    if blocks is None:
        explored = artefacts.explore
        blocks = fronts(spec, trials["explore"], explored.metric, explored.direction) if explored else ()
    explained, setup = artefacts.explained, _setup(artefacts)
    confirmed = setup.searched if setup else None
    said = verdict(explained, folder, confirmed) if explained else None
    ensembled = artefacts.ensemble
    return Summary(
        name=spec.name,
        date=_date(trials),
        data=data_name(spec),
        metric=_ranked_by(artefacts),
        test_metric=ensembled.metric if ensembled else None,
        setup=setup,
        handed=_handed(artefacts),
        verdict=said,
        cost=cost_of(trials, spec.execution),
        fronts=tuple(block.front for block in blocks),
        missing=artefacts.missing,
        commands=_commands(spec.task.kind == OWN_LOOP, folder, artefacts, said),
    )


def data_name(spec: StudySpec) -> str:
    """What the data are called: their file or folder, else the task."""
    path = spec.task.options.get("path")
    return Path(path).name if isinstance(path, str) and path else spec.task.kind


def _date(trials: Mapping[str, Sequence[TrialRow]]) -> str | None:
    ends = [row.ended_at for of_stage in trials.values() for row in of_stage if row.ended_at is not None]
    return datetime.fromtimestamp(max(ends), UTC).date().isoformat() if ends else None


def _ranked_by(artefacts: Artefacts) -> str:
    return artefacts.explore.metric if artefacts.explore else ""


def _setup(artefacts: Artefacts) -> Setup | None:
    if artefacts.confirm is None:
        return None
    best, explained = artefacts.confirm.chosen.one_cycle, artefacts.explained
    believed = explained if explained and not explained.withheld else None
    settings = (
        # How many cycles it has is what makes it this kind of setup, whatever others would be as good.
        Setting(name, value, _said(believed, name, value) if believed and name != "cycles" else None)
        for name, value in best.params.items()
    )
    return Setup(
        settings=tuple(settings),
        score=best.worth.mean,
        low=best.worth.low,
        high=best.worth.high,
        seeds=len(best.scores),
        in_search=best.observed,
    )


def _said(explained: Explained, name: str, value: Value) -> str | None:
    """Which other values are as good as a confirmed one, by the forest; where it is not among those that the forest has
    for the best, the race has found more than the forest, and both are told."""
    good = surely_good(explained, name) or good_values(explained, name)
    if good is None:
        return None
    if name not in deciding(explained):
        return "hardly matters"
    return f"as good: {good.text}" if good.hold(value) else f"the forest expects the best at {good.text}"


def _handed(artefacts: Artefacts) -> Handed | None:
    ensembled, handed = artefacts.ensemble, artefacts.handed
    if ensembled is None or handed is None:
        return None
    metric, score = ensembled.metric, handed.test[ensembled.metric]
    sign = 1 if _direction(artefacts) == "maximize" else -1
    fitted = [Way(b.name, b.like_handed_out[metric], True) for b in ensembled.baselines if isinstance(b, Baseline)]
    controls = [Way(c.name, c.test[metric].mean, False) for c in ensembled.controls]
    first = artefacts.first_round
    if first is not None and first is not handed:
        controls.append(Way("the first round, without pseudo-labels", first.test[metric], False))
    best = tuple(max(ways, key=lambda way: sign * way.score) for ways in (fitted, controls) if ways)
    better = tuple(way for way in best if sign * way.score > sign * score)
    return Handed(len(handed.members), ensembled.test_examples, score, best, better)


def _direction(artefacts: Artefacts) -> str:
    """The test metric's; a file of an earlier version has that of the search alone."""
    said = artefacts.ensemble.direction if artefacts.ensemble else None
    return said or (artefacts.explore.direction if artefacts.explore else "maximize")


def _commands(own_loop: bool, folder: Path, artefacts: Artefacts, said: Verdict | None) -> tuple[str, ...]:
    quoted = shlex.quote(str(folder))
    if own_loop:  # nothing is trained by a command
        return (f"lab study export {quoted}",)
    if artefacts.missing:
        return (f"lab study resume {quoted}",)
    predict = [f"lab predict {quoted} --input FILE"] if artefacts.ensemble else []
    more = [said.command] if said and said.command else []
    return (*predict, *more, f"lab study export {quoted}")


def summary_lines(summary: Summary) -> list[str]:
    """The summary for a terminal."""
    lines: list[str] = []
    setup, handed, said = summary.setup, summary.handed, summary.verdict
    if setup is not None:
        names = max(len(setting.name) for setting in setup.settings)
        values = max(len(number(setting.value)) for setting in setup.settings)
        for setting in setup.settings:
            beside = f"   {setting.said}" if setting.said else ""
            lines.append(f"best      {setting.name:{names}} = {number(setting.value):{values}}{beside}".rstrip())
        worth = number(setup.score)
        worth += f" ({number(setup.low)} to {number(setup.high)})" if setup.low is not None else ""
        lines.append(f"score     validation {summary.metric} {worth} on {setup.seeds} seeds that the search never saw")
    if handed is not None:
        models = "one model" if handed.models == 1 else f"the mean of {handed.models} models"
        beside = "".join(f"; {way.name} {number(way.score)}" for way in handed.others)
        score = f"{summary.test_metric} {number(handed.score)} on {handed.examples} test examples"
        lines.append(f"handed    {models}: {score}{beside}")
    lines += [f"front     {front.line}, of {front.trials} trials" for front in summary.fronts]
    if said is not None:
        lines += [
            f"matters   {said.matters}",
            *([f"good      {said.good}"] if said.good else []),
            f"sure      {said.sure}",
        ]
    ended = f"; ended {summary.date}" if summary.date else ""
    lines.append(f"cost      {summary.cost.line}{ended}")
    lines += [f"next      {command}" for command in summary.commands]
    return lines


def comparison(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """Studies side by side, a column each by the name given: settings that were confirmed, scores, cost.

    Scores are comparable only where data and splits are the same.
    """
    import pandas as pd

    columns: dict[str, dict[str, Any]] = {}
    for name, summary in summaries.items():
        column: dict[str, Any] = {"data": summary.data}
        if summary.setup is not None:
            column |= {setting.name: setting.value for setting in summary.setup.settings}
            column[f"validation {summary.metric}"] = summary.setup.score
        if summary.handed is not None:
            column[f"test {summary.test_metric}"] = summary.handed.score
        cost = summary.cost
        columns[name] = column | {"trainings": cost.trainings, "epochs": cost.epochs, "training_s": cost.training_s}
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    ordered = sorted(rows, key=lambda row: next((i for i, first in enumerate(_LAST, 1) if row.startswith(first)), 0))
    table = {name: [number(column.get(row, "-")) for row in ordered] for name, column in columns.items()}
    return pd.DataFrame(table, index=ordered)


def summary_html(summary: Summary) -> str:
    """The summary for a notebook: a table of label and text, without a style of its own."""
    rows = ((line[:_LABEL].strip(), line[_LABEL:]) for line in summary_lines(summary))
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for label, text in rows
    )
    return f"<table><caption>{escape(summary.name)}: {escape(summary.data)}</caption>{cells}</table>"
