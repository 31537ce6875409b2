"""Making train, validation and test splits: once, seeded, by rows' numbers. n rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError, nearest
from lab.tasks.stratification import iterative_stratification

Rows: TypeAlias = dict[str, NDArray[np.int64]]
"""Split to row numbers, ascending."""

SPLIT_MEANING = (
    "how rows are split: a kind (stratified, random, grouped, time, declared), or kind, by, valid, test, seed, folds "
    "(in how many train and valid are parted, of which confirmation and final models leave out one each, in turn)"
)
"""The meaning of the option `split`, for every task that splits by a `SplitPlan`."""

KINDS = ("auto", "random", "stratified", "grouped", "time", "declared")


@dataclass(frozen=True)
class SplitPlan:
    """How rows are split.

    Args:
        kind: `auto` is stratified where there are classes or labels, else random; `grouped` keeps rows with the same
            value of `by` together; `time` sorts by `by`, trains on the oldest and tests on the newest; `declared` takes
            the split's name from column `by`.
        valid, test: shares of all rows.
        folds: in how many the rows of train and valid are parted, of which valid is the first. Trials of the search
            train on all others; those that confirm and the final models leave out each of them in turn. None: none.
    """

    kind: Literal["auto", "random", "stratified", "grouped", "time", "declared"] = "auto"
    by: str | None = None
    valid: float = 0.2
    test: float = 0.2
    seed: int = 0
    folds: int | None = None

    @classmethod
    def parse(cls, value: object, path: str = "task.split") -> SplitPlan:
        """A plan from a spec's value: a kind, or a mapping.

        Raises:
            SpecError: unknown keys, impossible values.
        """
        entries = {"kind": value} if isinstance(value, str) else value
        if not isinstance(entries, Mapping):
            raise SpecError(path, f"{value!r} is neither a kind ({', '.join(KINDS)}) nor a mapping")
        names = [f.name for f in fields(cls)]
        for key in entries:
            if key not in names:
                raise SpecError(f"{path}.{key}", f"is unknown{nearest(str(key), names)}; allowed: {', '.join(names)}")
        kind = entries.get("kind", "auto")
        if kind not in KINDS:
            raise SpecError(
                f"{path}.kind", f"{kind!r} is unknown{nearest(str(kind), KINDS)}; choices: {', '.join(KINDS)}"
            )
        for name in ("valid", "test"):
            share = entries.get(name, 0.2)
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
                raise SpecError(f"{path}.{name}", f"{share!r} is not a share between 0 and 1")
        plan = cls(**entries)
        if plan.folds is None and plan.valid + plan.test >= 1:
            raise SpecError(path, f"valid {plan.valid} and test {plan.test} leave no rows to train on")
        if isinstance(plan.seed, bool) or not isinstance(plan.seed, int) or plan.seed < 0:
            raise SpecError(f"{path}.seed", f"{plan.seed!r} is not a whole number of at least 0")
        if plan.by is not None and not isinstance(plan.by, str):
            raise SpecError(f"{path}.by", f"{plan.by!r} is not a column's name")
        needs = plan.kind in ("grouped", "time", "declared")
        if needs != (plan.by is not None):
            raise SpecError(f"{path}.by", f"is {'needed' if needs else 'not used'} with kind '{plan.kind}'")
        if plan.folds is not None:
            plan._check_folds(path, said="valid" in entries)
        return plan

    def _check_folds(self, path: str, said: bool) -> None:
        """Refuse folds that cannot be, or beside a share of validation rows that was said."""
        if isinstance(self.folds, bool) or not isinstance(self.folds, int) or self.folds < 2:
            raise SpecError(f"{path}.folds", f"{self.folds!r} is not a whole number of at least 2")
        if self.kind == "declared":
            raise SpecError(f"{path}.folds", f"{self.folds} folds are not possible where a column declares the splits")
        if self.kind == "time":
            raise SpecError(
                f"{path}.folds",
                f"{self.folds} folds are not possible with kind 'time': of the folds but the last, later rows would "
                "teach what is said of earlier ones",
            )
        if said:
            raise SpecError(f"{path}.valid", f"{self.valid!r} is not used with folds: each is validated on in turn")

    def resolved(self, has_classes: bool) -> str:
        """The kind, with `auto` replaced by what it comes to."""
        return self.kind if self.kind != "auto" else ("stratified" if has_classes else "random")


def make_split(
    plan: SplitPlan, n: int, classes: NDArray[Any] | None, by: NDArray[Any] | None, with_test: bool = True
) -> Rows:
    """Row numbers of each split; without `test` where the test rows come from elsewhere.

    Args:
        classes: each row's class [n], or labels of 0 and 1 [n, c], where there are any.
        by: each row's value of the column `plan.by` [n], where the plan needs one.

    Raises:
        TaskError: a class with too few rows to be in every split, an empty split, an unknown declared split.
    """
    names = ("train", "valid", "test") if with_test else ("train", "valid")
    kind = plan.resolved(classes is not None)
    if kind == "declared":
        assert by is not None  # the plan names a column
        return _declared(by, names)
    shares = {"valid": plan.valid, "test": plan.test if with_test else 0.0}
    if plan.folds is not None:  # the first of them
        shares["valid"] = (1 - shares["test"]) / plan.folds
    if kind == "time":
        assert by is not None  # as above
        rows_of = _by_time(by, shares)
    elif kind == "grouped":
        assert by is not None  # as above
        groups, group_of = np.unique(by, return_inverse=True)
        of_group = _random(len(groups), shares, plan.seed)
        rows_of = {split: np.flatnonzero(np.isin(group_of, rows)) for split, rows in of_group.items()}
    elif kind == "stratified":
        if classes is None:
            raise SpecError("task.split.kind", "'stratified' needs classes; use 'random'")
        if classes.ndim == 2:
            rows_of = iterative_stratification(classes, _sizes(n, shares), plan.seed)
        else:
            rows_of = _stratified(classes, shares, plan.seed, len(names))
    else:
        rows_of = _random(n, shares, plan.seed)
    for split in names:
        if len(rows_of[split]) == 0:
            raise TaskError(f"split '{split}' is empty: {n} rows are too few for these shares")
    return {split: np.sort(rows_of[split]) for split in names}


def make_folds(
    plan: SplitPlan, rows_of: Rows, classes: NDArray[Any] | None, by: NDArray[Any] | None
) -> NDArray[np.int64] | None:
    """The fold of each training row and, behind them, of each validation row, [n]; None where the plan asks for none.

    The validation rows are fold 0. The training rows are dealt to the others: each class in its share, and rows of a
    group together.

    Args:
        rows_of: as `make_split` gives them.
        classes, by: as there.

    Raises:
        SpecError: a class has fewer rows, or there are fewer groups or rows, than folds.
    """
    if plan.folds is None:
        return None
    train, others, random = rows_of["train"], plan.folds - 1, np.random.default_rng(plan.seed)
    kind = plan.resolved(classes is not None)
    if kind == "grouped":
        assert by is not None  # the plan names a column
        _enough(
            plan.folds, len(np.unique(by[train])) + len(np.unique(by[rows_of["valid"]])), "groups of train and valid"
        )
        dealt = dealt_by_group(by[train], others, random)
    elif kind == "stratified" and classes is not None and classes.ndim == 2:
        sizes = {str(fold): len(train[fold::others]) for fold in range(others)}
        parts = iterative_stratification(classes[train], sizes, plan.seed)
        dealt = np.empty(len(train), dtype=np.int64)
        for fold, rows in parts.items():
            dealt[rows] = int(fold)
    else:
        order = random.permutation(len(train))
        if kind == "stratified":
            assert classes is not None  # `make_split` has refused it
            for value, count in zip(*np.unique(classes[_both(rows_of)], return_counts=True), strict=True):
                _enough(plan.folds, int(count), f"rows of train and valid with class {value!s}")
            order = order[np.argsort(classes[train][order], kind="stable")]
        dealt = np.empty(len(train), dtype=np.int64)
        dealt[order] = np.arange(len(train)) % others
    _enough(plan.folds, len(np.unique(dealt)) + 1, "parts that these rows can be dealt to")
    return np.concatenate([dealt + 1, np.zeros(len(rows_of["valid"]), dtype=np.int64)])


def groups_of(plan: SplitPlan, rows_of: Rows, by: NDArray[Any] | None) -> NDArray[Any] | None:
    """The group of each training row and, behind them, of each validation row; None where the plan keeps none
    together."""
    return None if plan.kind != "grouped" or by is None else by[_both(rows_of)]


def described(folds: NDArray[np.int64]) -> str:
    """Folds [n] as a fact of the data."""
    sizes = ", ".join(map(str, np.bincount(folds)))
    return f"folds of train and valid: {sizes} rows; confirmation and final models leave out one each, in turn"


def _both(rows_of: Rows) -> NDArray[np.int64]:
    return np.concatenate([rows_of["train"], rows_of["valid"]])


def _enough(folds: int, there: int, what: str) -> None:
    if there < folds:
        raise SpecError("task.split.folds", f"{folds} is above the {there} {what}; at most {max(there, 2)}")


def dealt_by_group(by: NDArray[Any], folds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A fold of each row [n]: the largest groups first, each to the fold that has fewest rows."""
    _, group_of = np.unique(by, return_inverse=True)
    sizes = np.bincount(group_of)
    shuffled = random.permutation(len(sizes))
    rows_in, fold_of_group = np.zeros(folds, dtype=np.int64), np.empty(len(sizes), dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold_of_group[group] = fold = int(rows_in.argmin())
        rows_in[fold] += sizes[group]
    return fold_of_group[group_of]


def _sizes(n: int, shares: Mapping[str, float]) -> dict[str, int]:
    test = max(min(round(n * shares["test"]), n - 2), 1) if shares["test"] else 0
    valid = max(min(round(n * shares["valid"]), n - test - 1), 1)  # a small class must leave a row to train on
    return {"train": n - test - valid, "valid": valid, "test": test}


def _random(n: int, shares: Mapping[str, float], seed: int) -> Rows:
    order, sizes = np.random.default_rng(seed).permutation(n), _sizes(n, shares)
    test, rest = order[: sizes["test"]], order[sizes["test"] :]
    return {"test": test, "valid": rest[: sizes["valid"]], "train": rest[sizes["valid"] :]}


def _stratified(classes: NDArray[Any], shares: Mapping[str, float], seed: int, splits: int) -> Rows:
    parts_of: dict[str, list[NDArray[np.int64]]] = {"train": [], "valid": [], "test": []}
    values, class_of = np.unique(classes, return_inverse=True)
    for number, value in enumerate(values):
        rows = np.flatnonzero(class_of == number)
        if len(rows) < splits:
            raise TaskError(
                f"class {value!s} has {len(rows)} example{'s' if len(rows) > 1 else ''}; a stratified split needs at "
                f"least {splits} (leave the class out, or use split kind 'random')"
            )
        for split, chosen in _random(len(rows), shares, seed + number).items():
            parts_of[split].append(rows[chosen])
    return {split: np.concatenate(parts) for split, parts in parts_of.items()}


def _by_time(by: NDArray[Any], shares: Mapping[str, float]) -> Rows:
    """Oldest to train, newest to test; rows of one time stay together."""
    if (by == by[0]).all():
        raise TaskError("task.split.by: all rows have the same time; take kind 'random'")
    order = np.argsort(by, kind="stable")
    times, n = by[order], len(by)
    test = n - round(n * shares["test"])
    valid = test - max(round(n * shares["valid"]), 1)
    cut_test = int(np.searchsorted(times, times[test], side="left")) if test < n else n
    cut_valid = int(np.searchsorted(times, times[valid], side="left"))
    return {"train": order[:cut_valid], "valid": order[cut_valid:cut_test], "test": order[cut_test:]}


def _declared(by: NDArray[Any], names: tuple[str, ...]) -> Rows:
    values = np.array([str(value) for value in by])
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise TaskError(f"the split column holds '{unknown[0]}'; allowed: {', '.join(names)}")
    rows_of = {split: np.flatnonzero(values == split) for split in names}
    for split, rows in rows_of.items():
        if len(rows) == 0:
            raise TaskError(f"the split column has no row '{split}'")
    return rows_of
