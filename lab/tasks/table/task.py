"""The task `table`: a net on a user's table. n rows, f inputs, c classes or labels, t targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.description import Description
from lab.tasks.input_columns import InputColumn
from lab.tasks.made_up import crossed
from lab.tasks.options import constructed_by
from lab.tasks.table.columns import Category
from lab.tasks.table.describe import describe_data
from lab.tasks.table.encoding import Form, Notes, bins_of, categories_of, encode, features, numbers_of
from lab.tasks.table.expansion import Expansion
from lab.tasks.table.fitted import Fitted
from lab.tasks.table.frame import read_table
from lab.tasks.table.from_frame import as_file, frame_of
from lab.tasks.table.net import TableNet
from lab.tasks.table.options import TableOptions
from lab.tasks.table.table_data import TableData
from lab.tasks.table.target import Target
from lab.tasks.table.values import row_number
from lab.tasks.targeted_task import TargetedTask
from lab.tasks.task import Baseline, Data, Given, Split


class Table(TargetedTask):
    """Classification, several labels, or regression on the columns of a CSV or parquet.

    The parameters are those of `TableOptions`, and hyperparameters it knows `dropout` of the hidden layers,
    `embedding_dropout`, `balance`, and `bins`: those of the options, or 0.

    In Python the table may be a pandas frame, `Table(frame, target="units")`; a study keeps it in its folder.

    >>> rows = [f"{n % 7},{'ab'[n % 2]},{n * n % 37}" for n in range(60)]
    >>> _ = Path("sales.csv").write_text("\\n".join(["price,shop,units", *rows]))
    >>> task = Table("sales.csv", target="units", target_type="number")
    >>> task.kind, task.metric, len(task.data("train")[0])
    ('regression', 'rmse', 36)
    """

    paths = TableOptions.paths()
    soft_targets = True

    @constructed_by(TableOptions)
    def __init__(self, options: TableOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._data = TableData(self._options)
        self._fitted: Fitted | None = None
        self._tensors: dict[Split, Data] = {}
        self._expansions: dict[torch.device, Expansion] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the table itself."""
        return _rebuilt, (type(self), dict(self.options), self._fitted)

    @property
    def _learned(self) -> Fitted:
        return self._fitted or self._data.fitted

    # What the target decides; read-only where the contract has plain attributes, as it is known only with the data.

    @property
    def kind(self) -> Any:  # type: ignore[override]
        return self._learned.target.kind

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        several = self._several
        return self._learned.target.class_names if several is None else several.columns

    @property
    def _target(self) -> Target:
        return self._learned.target

    # The contract.

    def data(self, split: Split) -> Data:
        if split not in self._tensors:  # a lane has no use for the test rows
            x = torch.from_numpy(self._data.inputs(split))
            self._tensors[split] = x, torch.from_numpy(self._data.targets(split))
        return self._tensors[split]

    def fold_of_rows(self) -> NDArray[np.int64] | None:
        return self._data.folds

    def group_of_rows(self) -> NDArray[Any] | None:
        return self._data.groups

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        fitted = self._learned
        columns, target = fitted.columns, fitted.target
        levels = [c.codes for c in categories_of(columns)]
        numbers = Form(columns).width - len(levels)
        bounds: list[tuple[float, float] | None] = []
        for part in target.by_kind:
            free = part.kind != "regression"
            bounds += [None] * len(part.class_names) if free else [*part.bounds]
        return TableNet(
            levels,
            numbers,
            len(bounds),
            self._options.layers,
            float(params.get("dropout", 0.0)),
            float(params.get("embedding_dropout", 0.0)),
            bounds if target.kind == "regression" else None,
            self._mask(numbers, params),
        )

    def _mask(self, numbers: int, params: Mapping[str, Any]) -> Tensor | None:
        """Which of the numbers a trial uses, [m], where it says whether bins are among them."""
        bins = bins_of(self._learned.columns)
        if "bins" not in params or not bins:
            return None
        if why := self._options.refused("bins", params["bins"]):
            raise TaskError(f"bins: {params['bins']!r} {why}")
        return (torch.arange(numbers) < numbers - bins).float() if params["bins"] == 0 else torch.ones(numbers)

    def model_input(self, x: Tensor) -> Tensor:
        """All that the net takes of numbers [..., c + m], made of compact inputs on their device."""
        form = self._learned.form
        if not form.compact or x.shape[-1] == Form(form.columns).width:
            return x
        if x.device not in self._expansions:
            self._expansions[x.device] = Expansion(form.columns, x.device)
        return self._expansions[x.device](x)

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        return self._counts(params, examples)

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        return x, self._counted(y, draws)

    def made_up(self, x: Tensor, random: np.random.Generator) -> Tensor:
        """Rows whose columns are those of two that are alike."""
        form = self._learned.form
        codes = len(categories_of(form.columns))
        return torch.from_numpy(crossed(x.cpu().numpy(), form.column_of, codes, random))

    @property
    def plain_loss(self) -> bool:
        return False  # studies of tables have been trained by the cross entropy as it is, and go on so to the last bit

    # A user's later files and the report.

    def embed(self, model: nn.Module, x: Tensor) -> tuple[Sequence[str], Tensor]:
        """A category's learned numbers in place of it (Guo and Berkhahn 2016, arXiv 1604.06737), then the numbers,
        standardised, NaN where missing."""
        if not isinstance(model, TableNet):  # a subclass with its own net
            return super().embed(model, x)
        form = self._learned.form
        made = torch.from_numpy(features(form, x.cpu().numpy()))
        names: list[str] = []
        parts = []
        for i, column in enumerate(categories_of(form.columns)):
            parts.append(model.embeddings[i](made[:, i].long().to(x.device)).cpu())
            names += [f"{column.name}.{j}" for j in range(parts[-1].shape[1])]
        parts.append(made[:, len(parts) :].float())
        return [*names, *(number.name for number in numbers_of(form.columns))], torch.cat(parts, dim=1)

    def read(self, path: str | Path) -> Given:
        """Rows of a table like the training one; it may lack some columns, and need not hold the target."""
        path = Path(path)
        fitted, notes = self._learned, Notes()
        levels = {column.name: column.levels for column in fitted.columns if isinstance(column, Category)}
        levels |= {name: part.levels for part in fitted.target.by_kind for name in part.names}
        frame = read_table(path, self._options, levels)
        features = {column.name for column in fitted.columns}
        lacking = sorted(features - set(frame.columns))
        if 2 * len(lacking) > len(features):
            number = len(features) - len(lacking) or "none"
            some = ", ".join(lacking[:8]) + (", ..." if len(lacking) > 8 else "")
            raise TaskError(
                f"{path}: has {number} of the {len(features)} columns that were learned from; it lacks {some}"
            )
        try:
            x = torch.from_numpy(encode(fitted.form, frame, notes))
        except TaskError as error:
            raise TaskError(f"{path}: {error}") from error
        y, why_not = fitted.target.values_in(frame)
        return Given(x, None if y is None else torch.from_numpy(y), notes=(*notes.lines, *why_not))

    def accept(self, raw: Any) -> Given:
        """Rows of a pandas frame like the training table."""
        with as_file(frame_of(raw)) as path:
            return self.read(path)

    @property
    def frame_files(self) -> Mapping[str, Path]:
        """Files of frames that were given, by the options that name them: they go when the task does."""
        files: Mapping[str, Path] = self._options.files
        return files

    def data_names(self) -> Mapping[str, Sequence[str]]:
        fitted = self._data.fitted
        levels = {f"value of {one.name}": one.levels for one in categories_of(fitted.columns)}
        return {**fitted.target.data_names, "column": [column.name for column in fitted.columns], **levels}

    def fitted(self) -> Mapping[str, Any]:
        return {**self._learned.dump(), "layers": list(self._options.layers)}

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = Fitted.load(fitted)
        self._at_half = not self._fitted.thresholds
        self._data.compact = self._fitted.compact

    def describe(self) -> Description:
        description = describe_data(self._data)
        self._data.forget()  # what is trained on is made of it now
        return description

    def features(self, x: Tensor) -> NDArray[np.float64]:
        """Inputs [n, f] as codes, then standardised numbers, NaN where missing."""
        return features(self._learned.form, x.cpu().numpy())

    @property
    def input_columns(self) -> tuple[InputColumn, ...]:
        return self._learned.form.input_columns

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        from lab.tasks.baselines import constant
        from lab.tasks.table.baselines import forests, linear, of_each_target

        if self._learned.target.parts:
            return of_each_target(self._learned, seed)

        return constant(self), linear(self._learned), *forests(self._learned, self.metric, seed)

    def rows_of(self, split: Split) -> pd.DataFrame:
        """A split's rows as the user's table has them."""
        return self._data.part(split).frame()

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        part = self._data.part(split)
        rows = part.take(np.array([index])).frame()
        row = rows.iloc[0]
        cells = {str(name): str(row[name]) for name in row.index if name not in self._data.left_out}
        return {"row of the file": str(row_number(rows, 0))} | cells


def _rebuilt(cls: type[Table], options: dict[str, Any], fitted: Fitted | None) -> Table:
    task = cls(**options)
    task._fitted = fitted
    return task
