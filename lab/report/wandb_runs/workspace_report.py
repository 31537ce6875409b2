"""A study as a W&B Report: its answer in words, and panels on its runs, which whoever reads it may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from lab.errors import SpecError, install_extra
from lab.report.artefacts import Artefacts
from lab.report.summary import Summary, summary_lines
from lab.report.wandb_runs.service import is_offline
from lab.report.wandb_runs.tables import CONTROLS, IMPORTANCE, RANGE_TEST, tables_of
from lab.spec.space import Float, Int, Space

Report: TypeAlias = Any
"""A `wandb_workspaces.reports.v2.Report`, which has no usable types."""

_LINE, _BAR = "wandb/lineseries/v0", "wandb/bar/v0"
"""W&B's own charts of tables."""
_WIDTH = 24
"""Columns of a grid of panels."""


def check_workspaces() -> None:
    """Refuse to make a report before anything is begun.

    Raises:
        SpecError: wandb-workspaces is not installed, or W&B is not to be asked for anything.
    """
    if is_offline():
        raise SpecError("--to wandb-report", "W&B's server holds reports, and WANDB_MODE says to ask none")
    try:
        import wandb_workspaces.reports.v2  # noqa: F401
    except ImportError:
        raise SpecError(
            "--to wandb-report", f"wandb-workspaces is not installed; {install_extra('wandb-report')}"
        ) from None


def report_of(space: Space, summary: Summary, artefacts: Artefacts, entity: str, project: str, group: str) -> Report:
    """The report of a study whose runs are a group of a project. It is not saved yet."""
    import wandb_workspaces.reports.v2 as wr

    def grid(job_type: str, panels: Sequence[Any], stage: str | None = None, best_first: bool | None = None) -> Any:
        """Panels on the study's own run or on those of its trials, one below another; `best_first`: whether more is
        better of the score that runs are ordered by."""
        for index, panel in enumerate(panels):
            panel.layout = wr.Layout(0, 10 * index, _WIDTH, 10)
        of_stage = "" if stage is None else f" and Config('stage') = '{stage}'"
        asked = f"Group = '{group}' and JobType = '{job_type}'{of_stage}"
        order = [] if best_first is None else [wr.OrderBy(wr.SummaryMetric("score"), ascending=not best_first)]
        runs = wr.Runset(entity=entity, project=project, name=stage or job_type, filters=asked, order=order)
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    def chart(table: str, name: str, title: str, **axes: str) -> Any:
        made = wr.CustomChart.from_table(table, chart_fields=axes, chart_strings={"title": title})
        made.chart_name = name
        return made

    tables, metric = tables_of(artefacts), summary.metric
    answer = "\n".join(f"    {line}" for line in summary_lines(summary))
    blocks: list[Any] = [wr.H1("Answer"), wr.MarkdownBlock(answer)]
    if artefacts.explore is not None:
        best = wr.LinePlot(title=f"best {metric} so far", x="trainings", y=["explore/best", "explore/score"])
        columns = [wr.ParallelCoordinatesPlotColumn(wr.Config(name), log=_is_log(space, name)) for name in space]
        score = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric("score"), display_name=metric)
        lines = wr.ParallelCoordinatesPlot(title="the search", columns=[*columns, score])
        curves = [
            wr.LinePlot(title=title, x="epoch", y=[name])
            for name, title in (("score", metric), ("train_loss", "training loss"), ("lr", "learning rate"))
        ]
        importance = wr.ParameterImportancePlot(with_respect_to="score")
        blocks += [wr.H1("Search"), grid("study", [best]), grid("trial", [lines, importance, *curves], "explore")]
    if IMPORTANCE in tables:
        shares = chart(IMPORTANCE, _BAR, "importance by the study's forest", label="hyperparameter", value="share")
        blocks += [wr.H1("What matters"), grid("study", [shares])]
    if RANGE_TEST in tables:
        axes = {"step": "learning rate", "lineVal": "loss", "lineKey": "range test"}
        blocks += [wr.H1("Range test"), grid("study", [chart(RANGE_TEST, _LINE, "range test", **axes)])]
    if CONTROLS in tables:
        ways = chart(
            CONTROLS, _BAR, "other ways to spend as much, on the test split", label="way", value=_score(tables)
        )
        blocks += [wr.H1("Controls"), grid("study", [ways])]
    if artefacts.explore is not None:  # a grid shows the table of its runs
        blocks += [wr.H1("Trials"), grid("trial", [], "explore", best_first=artefacts.explore.direction == "maximize")]
    return wr.Report(
        entity=entity, project=project, title=f"{summary.name}: {summary.data}"[:128], width="fluid", blocks=blocks
    )


def _score(tables: Any) -> str:
    return str(tables[CONTROLS].columns[1])


def _is_log(space: Space, name: str) -> bool:
    """Whether an axis of a hyperparameter is one of magnitudes; one that the range test bounds always is."""
    dimension = space[name]
    if isinstance(dimension, Float):
        return dimension.log
    return not isinstance(dimension, Int) and name == "max_lr"
