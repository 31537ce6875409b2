"""The plots of a study one by one, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from lab.errors import StudyError
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.report.artefacts import Artefacts
from lab.spec.study import StudySpec
from lab.stages import bounds, ensemble, explain, explore
from lab.stages.explain import Withheld

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


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

    def importances(self) -> Figure:
        """The share of each hyperparameter by several measures.

        Raises:
            StudyError: the forest is not to be believed.
        """
        from lab.report.plots import importance_figure

        explained = explain.STAGE.need(self._record)
        if isinstance(explained, Withheld):
            raise StudyError(f"importances are withheld: {explained.withheld}")
        return importance_figure(explained.measures)

    def controls(self) -> Figure:
        """What is handed out beside other ways to spend as much, on the test split."""
        from lab.report.plots import controls_figure

        ensembled = ensemble.STAGE.need(self._record)
        handed = Artefacts.of(self._record).handed
        assert handed is not None  # as the ensemble is there
        return controls_figure(ensembled.controls, handed.test[ensembled.metric], ensembled.metric)

    @cached_property
    def _explored(self) -> explore.Explored:
        return explore.STAGE.need(self._record)

    @cached_property
    def _trials(self) -> Sequence[TrialRow]:
        return read_trials(self._record, "explore", self._spec.store)

    @cached_property
    def _names(self) -> list[str]:
        return list(self._spec.space)
