"""Splits that a task gives as PyTorch's users have them, a data set or a loader, or as Ray Data has them, read into
tensors once.

Where they would take much of the memory, they go to a file on the way (see `lab.tasks.mapped`). So what is costly to
decode is decoded once for all trials of a lane, and may be larger than the memory.

Shapes: n examples, b examples of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, default_collate

from lab.errors import TaskError
from lab.tasks.distributed import TARGETS, batches, is_distributed, reason
from lab.tasks.rows_read import RowsRead
from lab.tasks.several import are_several, packed

Read: TypeAlias = "tuple[Tensor, Tensor]"
_BATCH = 256
_KEPT = "_read_splits"
"""Under what a task keeps what it has read."""
_HANDED = "_read_on_a_cluster"
"""Under what a task keeps that lanes are handed its splits: their processes may have no room left on the cluster for
who reads them."""


class _Kept(dict[tuple[str, Any], Read]):
    """Splits by the method that gave them; they do not travel with the task, whose new place reads them again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kept, ()


def reads(data: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A task's `data`, whose data sets and loaders are read into tensors, and whose inputs become one where they are
    several."""

    @functools.wraps(data)
    def read(self: Any, split: Any) -> Any:
        kept = vars(self).setdefault(_KEPT, _Kept())
        key = data.__qualname__, split
        if key in kept:
            return kept[key]
        source, where = data(self, split), f"{type(self).__name__}.data({split!r})"
        if _is_set(source):
            kept[key] = as_tensors(source, where, self.cache, self)
            if is_distributed(source):
                vars(self)[_HANDED] = True
        elif isinstance(source, tuple) and len(source) == 2 and are_several(source[0]):
            kept[key] = packed(self, source[0], where), source[1]
        else:
            return source
        return kept[key]

    return read


def is_handed(task: object) -> bool:
    """Whether a cluster has read a task's data, so that lanes are handed them."""
    return hasattr(task, _HANDED)


def keep_handed(task: Any, splits: Mapping[Any, Read]) -> None:
    """Let a task give these splits: what its `data`, as its class has it, gave where they were read."""
    name = type(task).data.__qualname__
    vars(task).setdefault(_KEPT, _Kept()).update({(name, split): pair for split, pair in splits.items()})


def as_tensors(source: Any, where: str, folder: Path | None = None, task: Any = None) -> Read:
    """Inputs [n, ...] and targets [n, ...] of a `Dataset`, an `IterableDataset` that ends, a `DataLoader`, a data set
    of Hugging Face in PyTorch's format with two columns, or one of Ray Data with a column beside its labels.

    Examples come in the order of their data set, also from a loader that shuffles: every process must see the same, and
    training shuffles by itself.

    Args:
        where: what gives it, for messages.
        folder: on whose disk they lie where they would take much of the memory.
        task: whose several inputs become one; without it there must be one.

    Raises:
        TaskError: it gives nothing, no pairs, or examples of several shapes or types.
    """
    if is_distributed(source):
        loader: Iterable[Any] = batches(source)
    else:
        loader = _ordered(source) if isinstance(source, DataLoader) else _batches(source)
    inputs, targets = RowsRead(folder), RowsRead(folder)
    try:
        for batch in loader:
            for rows, values in zip((inputs, targets), _pair(batch, where, task), strict=True):
                rows.add(values)
    except TaskError as error:
        raise error if str(error).startswith(where) else TaskError(f"{where}: {error}") from None
    except Exception as error:  # a user's code, and its workers
        text = reason(error) if is_distributed(source) else str(error)
        said = (text.strip() or type(error).__name__).splitlines()[-1]
        raise TaskError(f"{where}: reading stopped after {targets.count} examples ({said})") from error
    if not targets.count:
        raise TaskError(f"{where}: gives no example")
    return inputs.whole(), targets.whole()


def _is_set(source: Any) -> bool:
    return isinstance(source, (Dataset, DataLoader)) or hasattr(source, "with_format") or is_distributed(source)


def _ordered(loader: DataLoader[Any]) -> DataLoader[Any]:
    if not isinstance(loader.sampler, RandomSampler) or loader.batch_size is None:
        return loader
    return DataLoader(loader.dataset, loader.batch_size, num_workers=loader.num_workers, collate_fn=loader.collate_fn)


def _batches(source: Any) -> Iterator[Any]:
    """Examples in their order, collated as PyTorch's loaders do."""
    examples = iter(source) if isinstance(source, IterableDataset) else (source[i] for i in range(len(source)))
    batch: list[Any] = []
    for example in examples:
        batch.append(example)
        if len(batch) == _BATCH:
            yield default_collate(batch)
            batch = []
    if batch:
        yield default_collate(batch)


def _pair(batch: Any, where: str, task: Any) -> Read:
    values = list(batch.values()) if isinstance(batch, dict) else batch
    if isinstance(batch, dict) and len(batch) > 1 and (target := next((n for n in TARGETS if n in batch), "")):
        inputs = {name: value for name, value in batch.items() if name != target}
        values = [inputs if len(inputs) > 1 else next(iter(inputs.values())), batch[target]]
    elif isinstance(batch, dict) and len(batch) > 2:
        names = ", ".join(map(str, batch))
        raise TaskError(f"{where}: gives examples of {names}; call the target 'labels' or 'label', or give pairs")
    if task is not None and isinstance(values, (list, tuple)) and len(values) == 2 and are_several(values[0]):
        values = [packed(task, values[0], where), values[1]]
    targets = getattr(task, "targets", None)
    if targets is not None and isinstance(values, (list, tuple)) and len(values) == 2 and isinstance(values[1], dict):
        values = [values[0], targets.packed(values[1])]
    if not isinstance(values, (list, tuple)) or len(values) != 2 or not all(isinstance(v, Tensor) for v in values):
        raise TaskError(f"{where}: must give pairs of an input and a target, as tensors or numbers")
    return values[0], values[1]
