"""What the contract asks of a task, tried on a few examples: one line on what breaks it, and the suite a user runs."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lab.errors import LabError, TaskError
from lab.tasks.build import build_model
from lab.tasks.folds import folds_of
from lab.tasks.pairing import check_own_loss, check_own_scores, telling_rows
from lab.tasks.several import row_of
from lab.tasks.task import TRAIN_AND_VALID, Data, Split, Task, defines

Point: TypeAlias = Callable[[Task, Mapping[str, Any]], str]
"""A point of the contract: says what it found, or raises what is wrong."""

_T = TypeVar("_T")
_FEW = 4
_CHECKED = 4096
"""Examples looked at together."""
_OWN_METRICS = {"train_loss", "valid_loss"}
_MOST_INSIDE = 0.9
_MOST_SHARED = 0.01
"""Rows of a table may be alike by chance; more than this share of a split is a mistake in splitting."""


def check_task(task: Task, params: Mapping[str, Any]) -> None:
    """Try a task on a few examples and say in one line what breaks the contract.

    Raises:
        TaskError: NaN in the data, lengths that differ, one class only, a reduced loss, ...
    """
    name = type(task).__name__
    if task.kind not in ("classification", "multilabel", "regression"):
        raise TaskError(f"{name}.kind: {task.kind!r} is not 'classification', 'multilabel' or 'regression'")
    if task.metric not in task.metrics:
        raise TaskError(f"{name}.metric: {task.metric!r} is not one of its metrics {sorted(task.metrics)}")
    if taken := _OWN_METRICS & task.metrics.keys():
        raise TaskError(f"{name}.metrics: {min(taken)!r} is what lab calls its own; choose another name")
    if task.direction not in ("maximize", "minimize"):
        raise TaskError(f"{name}.direction: {task.direction!r} is not 'maximize' or 'minimize'")
    for split in TRAIN_AND_VALID:
        check_data(task, split)
    x, y = task.data("train")
    for method in ("model_input", "augment"):
        if row_of(task) is not None and defines(task, method):
            raise TaskError(
                f"{name}.{method}: is for one input, and the data has several; do it in the model's forward"
            )
    few = min(_FEW, len(x))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = tried(f"{name}.model", lambda: task.model(dict(params)))
        if not isinstance(model, nn.Module):
            raise TaskError(f"{name}.model: gave {type(model).__name__}, not a torch.nn.Module")
        if not any(p.requires_grad for p in model.parameters()):
            raise TaskError(f"{name}.model: has no trainable parameters")
        again = tried(f"{name}.model", lambda: task.model(dict(params)))
        if {id(p) for p in model.parameters()} & {id(p) for p in again.parameters()}:
            raise TaskError(f"{name}.model: gives the same parameters twice: build a new model in it, or trials share")
        if len(dtypes := {str(p.dtype) for p in model.parameters() if p.requires_grad}) > 1:
            raise TaskError(
                f"{name}.model: has parameters of several dtypes ({', '.join(sorted(dtypes))}); one is trained"
            )
        names = dict(model.named_parameters()).keys()
        model.eval()
        batch = tried(f"{name}.model_input", lambda: task.model_input(x[:few]))
        if not isinstance(batch, Tensor) or len(batch) != few:
            raise TaskError(f"{name}.model_input: must give one input per example")
        seen = batch.clone()
        output = tried(f"{name}.model: on inputs of shape {tuple(batch.shape)}, {batch.dtype}", lambda: model(batch))
        if not _unchanged(batch, seen):
            raise TaskError(
                f"{name}.model: changes its inputs in place, so later epochs see other data; work on a copy"
            )
        if created := sorted(dict(model.named_parameters()).keys() - names):
            raise TaskError(f"{name}.model: makes parameters in forward ({', '.join(created)}): make them in __init__")
        for target in (y, task.data("valid")[1]):
            _check_kind(task, output, target)
        loss = tried(f"{name}.loss", lambda: task.loss(output, y[:few]))
        if not isinstance(loss, Tensor) or loss.shape != (few,):
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise TaskError(
                f"{name}.loss: must give one value per example, shape ({few},); got {got} (reduction='none'?)"
            )
        _check_augment(task, batch, y[:few], params)
        for metric, function in task.metrics.items():
            where = f"{name}.metrics[{metric!r}]"
            lent = output.clone()
            value = torch.as_tensor(tried(where, partial(function, lent, y[:few])))
            if not _unchanged(lent, output):
                raise TaskError(f"{where}: changes the outputs in place, which others are made of; work on a copy")
            if value.numel() != 1:
                raise TaskError(f"{where}: must give a scalar; got shape {tuple(value.shape)}")


def check_trainable(task: Task, params: Mapping[str, Any]) -> None:
    """Refuse, by a few examples, what cannot train, or would train and learn something else than was meant.

    Raises:
        TaskError: as `check_task`, or the loss or a metric sets outputs against the targets of other examples.
    """
    check_task(task, params)
    _own_target(task, params)


def _unchanged(lent: Tensor, before: Tensor) -> bool:
    return bool(((lent == before) | (before != before)).all())  # what is not a number equals nothing


def _check_augment(task: Task, x: Tensor, y: Tensor, params: Mapping[str, Any]) -> None:
    name = type(task).__name__
    draws = tried(f"{name}.draw", lambda: task.draw(len(x), np.random.default_rng(0), params))
    if draws is None:
        return
    if not isinstance(draws, np.ndarray) or draws.ndim != 2 or len(draws) != len(x):
        got = tuple(draws.shape) if isinstance(draws, np.ndarray) else type(draws).__name__
        raise TaskError(f"{name}.draw: must give an array of {len(x)} rows; got {got}")
    drawn = torch.from_numpy(draws)[None]
    got_x, got_y = tried(f"{name}.augment", lambda: task.augment(x[None], y[None], drawn))
    if got_x.shape != x[None].shape:
        raise TaskError(f"{name}.augment: changed the inputs' shape from {tuple(x.shape)} to {tuple(got_x.shape[1:])}")
    if got_y.shape[:2] != (1, len(x)):
        raise TaskError(f"{name}.augment: gave targets of shape {tuple(got_y.shape)}")


def _check_kind(task: Task, output: Any, target: Tensor) -> None:
    """Refuse what an ensemble of this kind could not average."""
    name = type(task).__name__
    shape = str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
    got = f"{target.dtype} {tuple(target.shape)}"
    if task.kind == "classification":
        wanted = 'for another kind of output say kind = "regression" and give loss, metrics, metric and direction'
        if target.is_floating_point():
            raise TaskError(f"{name}.data: classification needs whole-number targets [n]; got {got}; {wanted}")
        parts = "".join(f", {size}" for size in target.shape[1:])
        shaped = isinstance(output, Tensor) and output.ndim > 1 and output.shape[2:] == target.shape[1:]
        if not shaped or output.shape[1] < 2:
            raise TaskError(f"{name}.model: classification needs logits [n, c{parts}], c >= 2; got {shape}; {wanted}")
        if int(target.max()) >= output.shape[1] or int(target.min()) < 0:
            values = f"{int(target.min())} to {int(target.max())}"
            raise TaskError(f"{name}.data: classes {values} do not fit the model's {output.shape[1]} logits")
    elif task.kind == "multilabel":
        if target.ndim < 2 or not ((target == 0) | (target == 1)).all():
            raise TaskError(f"{name}.data: multilabel needs targets [n, c] of 0 and 1; got {got}")
        if not isinstance(output, Tensor) or output.shape[1:] != target.shape[1:]:
            sizes = ", ".join(map(str, target.shape[1:]))
            raise TaskError(f"{name}.model: multilabel needs logits [n, {sizes}]; got {shape}")
    if task.kind != "regression" and task.class_names and len(task.class_names) != output.shape[1]:
        raise TaskError(f"{name}.class_names: {len(task.class_names)} names for the model's {output.shape[1]} logits")


def tried(where: str, call: Callable[[], _T]) -> _T:
    """What the user's code gives, or one line on what it raised.

    Raises:
        TaskError: with the place; an error of ours comes through as it is.
    """
    try:
        return call()
    except LabError:
        raise
    except (Exception, SystemExit) as error:  # it may raise anything, and a script may end itself
        raise TaskError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def check_data(task: Task, split: Split) -> None:
    """Refuse data nobody can train on; see `check_task`."""
    where = f"{type(task).__name__}.data({split!r})"
    try:
        x, y = tried(where, lambda: task.data(split))
    except (TypeError, ValueError) as error:
        raise TaskError(f"{where}: must give (inputs, targets): {error}") from error
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TaskError(f"{where}: must give two tensors; got {type(x).__name__} and {type(y).__name__}")
    if x.ndim == 0 or y.ndim == 0:
        raise TaskError(f"{where}: must give tensors of examples; got a scalar")
    if len(x) != len(y):
        raise TaskError(f"{where}: {len(x)} inputs but {len(y)} targets")
    if len(x) == 0:
        raise TaskError(f"{where}: is empty")
    for what, tensor in (("inputs", x), ("targets", y)):
        # Part by part: what is asked of each number would take a quarter of their memory.
        parts = torch.split(tensor, _CHECKED) if tensor.is_floating_point() else ()
        bad = sum(int((~torch.isfinite(part)).reshape(len(part), -1).any(dim=1).sum()) for part in parts)
        if bad:
            raise TaskError(f"{where}: NaN or infinity in the {what} ({bad} of {len(tensor)} examples)")
    first = y.flatten()[:1]
    if task.kind == "classification" and split == "train" and not y.is_floating_point() and (y == first).all():
        raise TaskError(f"{where}: has one class only ({int(first)}); at least two are needed")


@dataclass(frozen=True)
class Finding:
    """One point of the contract suite."""

    name: str
    passed: bool
    said: str


def contract_suite(
    task: Task,
    params: Mapping[str, Any],
    again: Callable[[], Task] | None = None,
    more: Mapping[str, Point] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Every point of the contract in turn, each with what it found in plain words; later points need the first.

    Args:
        again: builds the task anew, as every worker does.
        more: further points by name, tried last.
    """
    points: tuple[tuple[str, Point], ...] = (
        ("data, model, loss and metrics fit together", _fits),
        ("the same data whenever they are asked for", partial(_same_data, again=again)),
        ("splits share no examples", _no_overlap),
        ("the same seed gives the same model", _same_model),
        ("loss and metrics set an output against its own target", _own_target),
        ("training steps lower the loss on a few examples", _learns),
        ("predictions can be averaged", _predicts),
        ("what it fitted survives JSON", _restores),
        ("it can travel to a worker", _travels),
        *more.items(),
    )
    for name, point in points:
        finding = _finding(name, partial(point, task, params))
        yield finding
        if point is _fits and not finding.passed:
            return


def _finding(name: str, point: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, point())
    except LabError as error:
        return Finding(name, False, str(error))
    except (Exception, SystemExit) as error:  # as above
        return Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _fits(task: Task, params: Mapping[str, Any]) -> str:
    check_task(task, params)
    check_data(task, "test")
    sizes = ", ".join(f"{len(task.data(split)[0])} {split}" for split in ("train", "valid", "test"))
    folds = tried(f"{type(task).__name__}.fold_of_rows", lambda: folds_of(task))
    return f"{task.kind}, scored by {task.metric}; {sizes}{'' if folds is None else f', {folds.count} folds'}"


def _same_data(task: Task, params: Mapping[str, Any], again: Callable[[], Task] | None) -> str:
    other = task if again is None else again()
    for split in ("train", "valid", "test"):
        pairs = zip(task.data(split), other.data(split), strict=True)
        if not all(torch.equal(a, b) for a, b in pairs):
            raise TaskError(
                f"data({split!r}) gave something else the second time: fix the seed of what is random in it"
            )
    return "three splits asked twice"


def _no_overlap(task: Task, params: Mapping[str, Any]) -> str:
    train, shares = _rows(task.data("train")), []
    splits: tuple[Split, ...] = ("valid", "test")
    for split in splits:
        examples = _rows(task.data(split))
        shared = int(np.isin(examples, train).sum())
        if shared > _MOST_SHARED * len(examples):
            raise TaskError(
                f"{shared} of {len(examples)} examples of {split} are also in train: its score would be too good "
                "(leave duplicates out, or keep them together)"
            )
        shares += [f"{shared} of {split} are also in train"] if shared else []
    return ", ".join(shares) or "no duplicates between train and the others"


def check_refit(task: Task) -> None:
    """Refuse to train on validation examples where the test split was taken from them.

    Inputs may be alike by chance, where they can take a few values only: then as many lie in the training split too.

    Raises:
        TaskError: nearly all of the test inputs are among the validation inputs, and not among those trained on.
    """
    test, valid = _rows(task.data("test")), _rows(task.data("valid"))
    test, inside = np.unique(test), np.intersect1d(test, valid)
    trained_on = _rows(task.data("train"))
    if len(inside) < _MOST_INSIDE * len(test) or len(np.intersect1d(test, trained_on)) > len(inside) / 2:
        return
    raise TaskError(
        f"final.refit: {len(inside)} of {len(test)} test inputs lie in the validation split, on which the models that "
        "are handed out would be trained; take another test split, or set final.refit to false"
    )


def _rows(data: Data) -> NDArray[np.int64]:
    """A hash of each input [n], equal where inputs are; a set of the inputs would take several times their memory."""
    inputs = data[0].cpu()
    return np.fromiter((hash(row.numpy().tobytes()) for row in inputs), np.int64, len(inputs))


def _same_model(task: Task, params: Mapping[str, Any]) -> str:
    one, other = _model(task, params), _model(task, params)
    first, again = one.state_dict(), other.state_dict()
    if first.keys() != again.keys() or not all(torch.equal(first[name], again[name]) for name in first):
        raise TaskError("two models built after the same torch.manual_seed differ: draw weights from torch's generator")
    numbers = [(p.numel(), p.requires_grad) for p in one.parameters()]
    every, trained = sum(n for n, _ in numbers), sum(n for n, learns in numbers if learns)
    return f"{every} parameters" + (f", of which {trained} are trained" if trained < every else "")


def _own_target(task: Task, params: Mapping[str, Any]) -> str:
    output, y = _outputs(task, params)
    tried(f"{type(task).__name__}.loss", lambda: check_own_loss(task, output, y))
    check_own_scores(task, output, y)
    return f"{len(y)} examples, alone and together"


@torch.no_grad()
def _outputs(task: Task, params: Mapping[str, Any]) -> Data:
    """What an untrained model gives for a few examples, and their targets."""
    x, y = task.data("train")
    rows = telling_rows(y)
    batch = task.model_input(x[rows])
    return build_model(task, params, 0, batch).eval()(batch), y[rows]


def _model(task: Task, params: Mapping[str, Any]) -> nn.Module:
    return build_model(task, params, 0, task.model_input(task.data("train")[0][:_FEW]))


def _learns(task: Task, params: Mapping[str, Any]) -> str:
    x, y = (tensor[:64] for tensor in task.data("train"))
    x, model = task.model_input(x), _model(task, params)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(30):
            optimizer.zero_grad()
            loss = task.loss(model(x), y).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
    if not losses[-1] < losses[0]:
        raise TaskError(
            f"30 AdamW steps at 0.003 on {len(x)} examples took the loss from {losses[0]:.4g} to {losses[-1]:.4g}"
        )
    return f"from {losses[0]:.4g} to {losses[-1]:.4g} in 30 steps on {len(x)} examples"


@torch.no_grad()
def _predicts(task: Task, params: Mapping[str, Any]) -> str:
    x, _ = task.data("valid")
    predictions = task.predict(_model(task, params).eval()(task.model_input(x[:_FEW])))
    if not torch.isfinite(predictions).all():
        raise TaskError("predict: gave NaN or infinity")
    total = predictions.sum(dim=1) if task.kind == "classification" else torch.ones(1)
    if not torch.allclose(total, torch.ones_like(total), atol=1e-4):
        raise TaskError("predict: probabilities of an example do not add up to 1")
    if task.kind == "multilabel" and not ((predictions >= 0) & (predictions <= 1)).all():
        raise TaskError("predict: probabilities are not between 0 and 1")
    return f"shape [n, {', '.join(map(str, predictions.shape[1:]))}]" if predictions.ndim > 1 else "shape [n]"


def _restores(task: Task, params: Mapping[str, Any]) -> str:
    fitted = task.fitted()
    if fitted is None:
        return "nothing fitted"
    try:
        again = json.loads(json.dumps(fitted, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TaskError(f"fitted: gave what JSON cannot hold ({error})") from error
    task.restore(again)
    return f"{len(fitted)} entries"


def _travels(task: Task, params: Mapping[str, Any]) -> str:
    try:
        size = len(pickle.dumps(task))
    except Exception as error:
        raise TaskError(f"cannot be pickled ({error}); a spec that names its file still runs on workers") from error
    return f"{size / 1e6:.1f} MB pickled"
