"""What a study found, as objects to work with: trials, response, effects, ensemble."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lab.errors import RecordError, StudyError, nearest
from lab.lanes.job import objective_of
from lab.record.artefact import to_json
from lab.record.folder import Record, read_json, write_bytes
from lab.record.trials import TrialRow, read_stages, read_trials
from lab.report.summary import Setup, Summary, summarize, summary_html, summary_lines
from lab.response import findings
from lab.spec.in_html import rows_html
from lab.spec.space import Value
from lab.spec.study import StudySpec
from lab.stages import STAGES, TRAINS, confirm, ensemble, explain, explore
from lab.stages.explain import Explained, Withheld
from lab.stages.front import check_cost, front_of
from lab.stages.job import best_first
from lab.study.plots import Plots

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

    from lab.stages.predictor import Ensemble
    from lab.stages.what_if import Expected
    from lab.study.activations import ActivationHealth
    from lab.study.fitted import Fitted
    from lab.study.refitting import Rows


def trials_frame(spec: StudySpec, record: Record, stages: Sequence[str]) -> pd.DataFrame:
    """Every trial of the stages as one flat table."""
    import pandas as pd

    rows = [_flat(stage, row) for stage, trials in read_stages(record, stages, spec.store).items() for row in trials]
    table = pd.DataFrame(rows)
    for name in table.columns:
        column = table[name]
        if name.startswith("params_") and column.dtype == object and column.dropna().map(type).nunique() > 1:
            # A choice of several types, which no column of a file can hold.
            table[name] = column.map(str, na_action="ignore")
    return table


def _flat(stage: str, row: TrialRow) -> dict[str, Any]:
    flat = {
        "stage": stage,
        "trial": row.number,
        "role": row.trial.role,
        "outcome": None if row.outcome is None else str(row.outcome),
        "score": row.score,
        "epochs": row.trial.epochs,
        "seed": row.trial.seed,
        "seconds": row.seconds,
        "detail": row.detail or None,
    }
    return flat | {f"params_{k}": v for k, v in row.params.items()} | row.metrics


def write_trials(spec: StudySpec, record: Record, stages: Sequence[str]) -> None:
    """Write `trials.parquet` anew."""
    stream = io.BytesIO()
    trials_frame(spec, record, stages).to_parquet(stream, index=False)
    write_bytes(record.folder / Record.TRIALS, stream.getvalue())


class Effect:
    """Partial dependence of the score on one hyperparameter."""

    def __init__(self, metric: str, effect: findings.Effect) -> None:
        self._metric = metric
        self._effect = effect

    @property
    def data(self) -> dict[str, Any]:
        """Its numbers, as the file of the artefact has them."""
        return to_json(self._effect)

    def plot(self) -> Figure:
        """The curve with its band, as a plotly figure."""
        from lab.report.plots import effect_figure

        return effect_figure(self._effect, self._metric)


class Response:
    """The forest's view of the explore stage."""

    def __init__(self, spec: StudySpec, record: Record, artefact: Explained | Withheld) -> None:
        self._spec, self._record, self._artefact = spec, record, artefact

    @property
    def data(self) -> dict[str, Any]:
        """All of it, as the file of the artefact has it."""
        return to_json(self._artefact)

    @property
    def importances(self) -> dict[str, float] | None:
        """Total-effect share of each hyperparameter; None where the forest is not to be believed."""
        return self._artefact.importances if isinstance(self._artefact, Explained) else None

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        if isinstance(self._artefact, Withheld):
            return rows_html({"withheld": self._artefact.withheld})
        said = summarize(self._spec, self._record).verdict
        assert said is not None  # the stage has ended
        good = {"good": said.good} if said.good else {}
        return rows_html({"matters": said.matters} | good | {"sure": said.sure})

    def predict(self, changes: Mapping[str, Any] | None = None) -> Expected:
        """What the forest expects of the confirmed setup with these settings changed, with an interval and the nearest
        trials.

        Raises:
            SpecError: a hyperparameter that was not searched, or a value outside of its range.
            StudyError: there are too few trials.
        """
        from lab.stages.what_if import expected

        return expected(self._spec, self._record, changes or {})

    def effects(self, name: str) -> Effect:
        """The effect of one hyperparameter.

        Raises:
            KeyError: there is none; with the near ones.
            StudyError: there are none at all, since the forest is not to be believed.
        """
        if isinstance(self._artefact, Withheld):
            raise StudyError(f"effects are withheld: {self._artefact.withheld}")
        by_name = {effect.name: effect for effect in self._artefact.effects}
        if name not in by_name:
            raise KeyError(f"no effect of {name!r}{nearest(name, by_name)}; there are: {', '.join(by_name)}")
        return Effect(self._artefact.explains, by_name[name])


class Result:
    """Everything a study has found so far."""

    def __init__(self, spec: StudySpec, record: Record) -> None:
        self._spec = spec
        self._record = record

    @property
    def summary(self) -> Summary:
        """What has been found so far: every window on the study shows these numbers."""
        return summarize(self._spec, self._record)

    @property
    def best(self) -> Setup:
        """The confirmed setup of one cycle: settings, score and interval; `RecordError` before stage `confirm`."""
        confirm.STAGE.need(self._record)
        setup = self.summary.setup
        assert setup is not None  # it is complete
        return setup

    @property
    def best_trial(self) -> explore.Best | None:
        """The trial of the search with the best score so far: one seed, chosen for its luck too, so that `best` on
        fresh seeds is worth less. None before any completed."""
        _, direction = objective_of(self._spec)
        rows = [row for row in read_trials(self._record, "explore", self._spec.store) if row.score is not None]
        if not rows:
            return None
        row = best_first(rows, direction)[0]
        assert row.score is not None  # as above
        return explore.Best(row.number, row.score, row.params)

    @property
    def recommended_trial(self) -> explore.Recommended | None:
        """The trial whose setting the model of the search expects to be the best: of many noisy scores the best one was
        also lucky. None before the search has ended, and where fewer than 24 trials, or 4 for each hyperparameter,
        have completed."""
        explored = explore.STAGE.if_any(self._record)
        return None if explored is None else explored.recommended

    @property
    def best_params(self) -> dict[str, Value]:
        """The hyperparameters of `best`."""
        return {setting.name: setting.value for setting in self.best.settings}

    def __repr__(self) -> str:
        return "\n".join(summary_lines(self.summary))

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return summary_html(self.summary)

    @property
    def plot(self) -> Plots:
        """Its plots: `history()`, `parallel()`, `slice()`, `front()`, `range_test()`, `importances()`, `controls()`,
        `final_curves()`, `confusion()`, `reliability()`, `predicted()`, `cost()`, and of a table `columns()`."""
        return Plots(self._spec, self._record)

    @property
    def trials(self) -> pd.DataFrame:
        """Every trial of every stage."""
        return trials_frame(self._spec, self._record, TRAINS)

    def front(self, cost: str = "parameters") -> pd.DataFrame:
        """The trials of the search of which no other costs no more and scores better (the Pareto front), the cheapest
        first: `trial`, the cost, the score by its metric's name, and the hyperparameters.

        Scores are of one seed each, chosen for their luck too. Trials that break a constraint are not among them.

        Args:
            cost: `parameters`, or `flops` where they were counted, or any metric of the trials, the less the better.

        Raises:
            RecordError: it was not measured of any trial.
        """
        import pandas as pd

        metric, direction = objective_of(self._spec)
        rows = read_trials(self._record, "explore", self._spec.store)
        check_cost(rows, cost)
        return pd.DataFrame(
            {"trial": row.number, cost: row.metrics[cost], metric: row.score, **row.params}
            for row in front_of(rows, cost, direction)
        )

    @property
    def drift(self) -> pd.DataFrame:
        """How validation and test rows of a table differ from its training rows: for each of both splits the AUC by
        which a forest tells them apart, with its interval, and the columns that tell, most first.

        Raises:
            RecordError: it was not looked at: the task is no table, or it has few rows.
        """
        from lab.study.inside import drift_frame

        return drift_frame(self._record)

    @property
    def column_importances(self) -> pd.DataFrame:
        """What the columns of a table are worth to the chosen ensemble, the most first: by how much the metric on the
        validation rows is `worse` where they are permuted, and its standard deviation between permutations (`std`).
        Columns that say the same are permuted together, and stand in one row.

        Raises:
            RecordError: stage `ensemble` has not run, or the task is no table.
        """
        from lab.study.inside import columns_frame

        return columns_frame(self._record)

    def artefact(self, stage: str) -> dict[str, Any]:
        """What a stage wrote, as its file has it; `RecordError` when it has not run."""
        declared = next((one for one in STAGES if one.name == stage), None)
        if declared is None:
            names = [one.name for one in STAGES]
            raise RecordError(f"{stage!r} is no stage{nearest(stage, names)}; there are: {', '.join(names)}")
        declared.complete(self._record)
        return read_json(declared.path(self._record))

    @property
    def response(self) -> Response:
        """The forest's view; `RecordError` when stage `explain` has not run."""
        return Response(self._spec, self._record, explain.STAGE.need(self._record))

    def refit(
        self,
        data: Any = None,
        *,
        rows: Rows | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        execution: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Fitted:
        """Train one model more with the confirmed setup: on all of the study's rows, or on other data.

        Args:
            data: a task in place of the study's own, in any form that `lab.Study` takes; for a study of a table also a
                frame of the same columns.
            rows: `train`, which leaves the validation rows to score by; `train+valid`; or `all`, the test rows too,
                after which nothing is left that could tell how good the model is. None: `all` of the study's own
                data, `train` of others.
            epochs: of its 1cycle; None: those of the final models.
            seed: of its weights and all that is drawn; None: one that follows from the study's.
            execution: see `lab.fit_one_cycle`.

        Raises:
            RecordError: stage `confirm` has not run, or another user has begun the study.
            SpecError: something cannot be; the message names the argument.
            StudyError: the training diverged or failed.
        """
        from lab.study.refitting import refit

        return refit(
            self._spec, self._record, data, rows=rows, epochs=epochs, seed=seed, execution=execution, quiet=quiet
        )

    def activation_health(self, epochs: int | None = None, *, quiet: bool = True) -> ActivationHealth:
        """Train the confirmed setup once more, on the training rows, and look at what its layers give meanwhile.

        Args:
            epochs: of its 1cycle; None: those of the search.

        Raises:
            RecordError: stage `confirm` has not run, or another user has begun the study.
            SpecError: no number of epochs.
            StudyError: a trial function, which trains by itself.
        """
        from lab.study.activations import of_study

        return of_study(self._spec, self._record, epochs, quiet)

    @property
    def ensemble(self) -> Ensemble:
        """The chosen ensemble; `RecordError` when stage `ensemble` has not run."""
        from lab.stages.predictor import Ensemble

        if ensemble.STAGE.read(self._record) is None:
            raise RecordError(f"{self._record.folder}: has no ensemble yet; resume the study first")
        return Ensemble.handed_out(self._spec, self._record)
