"""The plots of a study one by one, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from lab.errors import StudyError, nearest
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_stages, read_trials
from lab.report.artefacts import Artefacts
from lab.spec.study import StudySpec
from lab.stages import TRAINS, bounds, ensemble, explain, explore, final
from lab.stages.diagnostics import Diagnostics
from lab.stages.explain import Withheld

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

T = TypeVar("T")


class Plots:
    """Plots of a study; each is a plotly figure, and raises `RecordError` where its stage has not run.

    >>> result.plot.parallel().show()  # doctest: +SKIP
    """

    def __init__(self, spec: StudySpec, record: Record) -> None:
        self._spec, self._record = spec, record

    def range_test(self) -> Figure:
        """The loss while the rate rises, with the suggestion."""
        from lab.report.plots import range_test_figure

        return range_test_figure(bounds.STAGE.need(self._record))

    def history(self) -> Figure:
        """Every trial's score in the order of proposal, and the best so far."""
        from lab.report.plots import history_figure

        return history_figure(self._trials, self._explored.metric, self._explored.direction)

    def parallel(self) -> Figure:
        """Every trial as a line through its hyperparameters to its score."""
        from lab.report.trial_plots import parallel_figure

        return parallel_figure(self._trials, self._names, self._explored.metric, self._explored.direction)

    def slice(self) -> Figure:
        """Every trial's score by each hyperparameter in turn."""
        from lab.report.trial_plots import slice_figure

        return slice_figure(self._trials, self._names, self._explored.metric, self._explored.direction)

    def front(self, cost: str = "parameters") -> Figure:
        """Every trial's score by its cost, and those that no other beats in both as a line.

        Raises:
            RecordError: the cost was not measured of any trial.
        """
        from lab.report.front_plot import front_figure
        from lab.stages.front import check_cost, front_of

        check_cost(self._trials, cost)
        explored, limits = self._explored, self._spec.search.limits
        front = front_of(self._trials, cost, explored.direction)
        return front_figure(self._trials, front, cost, explored.metric, explored.direction, limits)

    def importances(self) -> Figure:
        """The share of each hyperparameter by several measures.

        Raises:
            StudyError: the forest is not to be believed.
        """
        from lab.report.plots import importance_figure

        explained = explain.STAGE.need(self._record)
        if isinstance(explained, Withheld):
            raise StudyError(f"importances are withheld: {explained.withheld}")
        if "permutation" not in explained.measures:
            raise StudyError("importances are withheld: the forest explains too little; result.summary says how little")
        return importance_figure(explained.measures)

    def controls(self) -> Figure:
        """What is handed out beside other ways to spend as much, on the test split."""
        from lab.report.plots import controls_figure

        ensembled = ensemble.STAGE.need(self._record)
        handed = Artefacts.of(self._record).handed
        assert handed is not None  # as the ensemble is there
        baselines = [one for one in ensembled.baselines if isinstance(one, ensemble.Baseline)]
        return controls_figure(ensembled.controls, handed.test[ensembled.metric], ensembled.metric, baselines)

    def final_curves(self) -> Figure:
        """The final models' scores after each epoch, and where their snapshots were taken."""
        from lab.report.final_plot import final_figure

        made = final.STAGE.need(self._record)
        rows = read_trials(self._record, "final", self._spec.store)
        return final_figure(made.runs, rows, self._spec.schedule, made.metric)

    def confusion(self, target: str | None = None) -> Figure:
        """Test examples by true and predicted class.

        Args:
            target: which one of several; None: the first that has classes.

        Raises:
            StudyError: there is none, or its classes are too many for a matrix.
        """
        from lab.report.diagnostic_plots import confusion_figure

        confusion = self._counted(target, "classes", lambda one: one.confusion)
        if not confusion.counts:
            raise StudyError(f"{confusion.classes} classes are too many for a matrix; see the page's table of pairs")
        return confusion_figure(confusion)

    def reliability(self, target: str | None = None) -> Figure:
        """How often predictions are right over how sure they are.

        Args:
            target: as for `confusion`.

        Raises:
            StudyError: no target has classes.
        """
        from lab.report.diagnostic_plots import reliability_figure

        return reliability_figure(self._counted(target, "classes", lambda one: one.reliability))

    def predicted(self, target: str | None = None) -> Figure:
        """Predicted values over the actual ones of the test split.

        Args:
            target: which one of several; None: the first that is a number.

        Raises:
            StudyError: no target is a number.
        """
        from lab.report.diagnostic_plots import residuals_figure

        counted = self._counted(target, "numbers", lambda one: (one.residuals, one.target) if one.residuals else None)
        return residuals_figure(*counted)

    def cost(self) -> Figure:
        """How long each stage trained."""
        from lab.report.cost import cost_by_stage
        from lab.report.plots import cost_figure

        return cost_figure(cost_by_stage(read_stages(self._record, TRAINS, self._spec.store)))

    def _counted(self, target: str | None, what: str, part: Callable[[Diagnostics], T | None]) -> T:
        """A part of what was counted on the test split, of one target."""
        ensemble.STAGE.need(self._record)
        tested = Artefacts.of(self._record).tested
        counted = tested.diagnostics if tested else ()
        if not counted:
            raise StudyError(
                "nothing was counted on the test split: an earlier version made the ensemble, or values"
                " and targets cannot be compared"
            )
        names = [one.target for one in counted]
        if target is not None and target not in names:
            raise StudyError(
                f"no target {target!r}{nearest(target, names)}; there are: {', '.join(filter(None, names))}"
            )
        mine = (part(one) for one in counted if target in (None, one.target))
        one = next((one for one in mine if one is not None), None)
        if one is None:
            raise StudyError(f"{'the target has' if target is None else f'{target!r} has'} no {what}")
        return one

    def columns(self) -> Figure:
        """What the columns of a table are worth to the chosen ensemble; `RecordError` where that was not looked at."""
        from lab.report.column_importance import columns_figure
        from lab.study.inside import column_importances

        return columns_figure(column_importances(self._record))

    @cached_property
    def _explored(self) -> explore.Explored:
        return explore.STAGE.need(self._record)

    @cached_property
    def _trials(self) -> Sequence[TrialRow]:
        return read_trials(self._record, "explore", self._spec.store)

    @cached_property
    def _names(self) -> list[str]:
        return list(self._spec.space)
