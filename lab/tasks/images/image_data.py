"""Images made ready: opened, decoded, split, with the training images' statistics. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lab.errors import SpecError, TaskError
from lab.tasks.classes import facts_of
from lab.tasks.description import Description
from lab.tasks.images.data_warnings import warnings_of
from lab.tasks.images.decode import Arrangement, decode
from lab.tasks.images.options import ImageOptions
from lab.tasks.images.rows import open_rows
from lab.tasks.images.source import Source, classes_among, open_source, relabelled
from lab.tasks.scored import check_defined, measured
from lab.tasks.splits import Rows, SplitPlan, described, make_folds, make_split
from lab.tasks.table.measured import kind_and_metrics
from lab.tasks.table.target import Target, of_training


@dataclass(frozen=True)
class Fitted:
    """What was learned from the training images: channels' mean and standard deviation are of pixels in 0..1."""

    class_names: tuple[str, ...]
    multilabel: bool
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bits: int = 16
    """In which gray of more than 8 bits is measured."""
    thresholds: bool = False
    """Whether labels are scored at a threshold that suits them; earlier versions scored them at a half."""
    body: str = ""
    """By which the weights are known that the net begins with; their own mean and standard deviation stand above."""
    features: int = 0
    """How many its body makes of an image."""
    center: tuple[float, ...] = ()
    """Each feature's mean over the training images, where the body is frozen."""
    spread: tuple[float, ...] = ()
    net: str = ""
    """What the net is called, where it begins with weights."""
    learned_from: str = ""
    """By which the images are known again that such a net, or its head, was trained and validated on."""
    learned_names: str = ""
    """The same by names, labels and split: whatever the images' size."""
    target: Target | None = None
    """What is predicted, where the images are in a table."""

    @property
    def kind(self) -> Literal["classification", "multilabel", "regression"]:
        """That of the target."""
        if self.target is not None:
            return self.target.kind
        return "multilabel" if self.multilabel else "classification"

    def dump(self) -> dict[str, Any]:
        return asdict(self) | {"target": None if self.target is None else self.target.dump()}

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Fitted:
        """What `dump` gave.

        Raises:
            TaskError: it is something else.
        """
        try:
            values: dict[str, Any] = {
                f.name: value[f.name] for f in fields(cls) if f.name in value or f.default is MISSING
            }
        except KeyError as error:
            raise TaskError(f"what was fitted to the images is damaged ({error} is missing)") from error
        values |= {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        if values.get("target") is not None:
            values["target"] = Target.load(values["target"])
        return cls(**values)


@dataclass(frozen=True)
class _Part:
    """Readable images of one source: pixels [n, c, h, w], labels [n] or [n, classes], or values [n, t]."""

    source: Source
    """What is known of all of its images, readable or not."""
    pixels: NDArray[np.uint8]
    """Those of the first source in the order of the splits, those of others as they came."""
    labels: NDArray[Any]
    names: tuple[str, ...]
    splits: tuple[str, ...] | None
    unreadable: tuple[str, ...]
    bits: int

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names


class ImageData:
    """Pixels, labels and splits; each made when it is first asked for."""

    def __init__(self, options: ImageOptions, cache: Path | None = None) -> None:
        self.options = options
        self.cache = cache
        self.plan = SplitPlan.parse(options.split)
        if self.plan.kind in ("grouped", "time"):
            raise SpecError(
                "task.split.kind", f"'{self.plan.kind}' is for tables; images are split by class or at random"
            )
        if self.plan.kind == "declared":
            raise SpecError("task.split.kind", "images declare their splits by folders train, valid and test")

    @cached_property
    def _main(self) -> _Part:
        source = self._open(self.options.path)
        if source.labels is not None and self.options.limit is not None and self.options.limit < len(source.images):
            source = _limited(source, self.options.limit, self.plan.seed)
        return self._read(source, self.options.path, None, None, self._arrangement(source))

    @cached_property
    def _test(self) -> _Part | None:
        if self.options.test_path is None:
            return None
        main = self._main
        source = self._open(self.options.test_path)
        unknown = set(source.class_names) - set(main.class_names)
        if unknown:
            raise TaskError(f"{self.options.test_path}: class {sorted(unknown)[0]!r} is not in {self.options.path}")
        source = replace(source, labels=relabelled(source, main.class_names), class_names=main.class_names, splits=None)
        part = self._read(source, self.options.test_path, main.pixels.shape[1], main.bits, None)
        if part.pixels.shape[1:] != main.pixels.shape[1:]:
            shapes = ["x".join(map(str, p.pixels.shape[1:])) for p in (part, main)]
            raise TaskError(
                f"{self.options.test_path}: images are {shapes[0]}, those to train on {shapes[1]}; say size"
            )
        return part

    def _open(self, path: str) -> Source:
        if self.options.tabular(path):
            return open_rows(path, self.options, None if path == self.options.path else self._main.source.target)
        source, names = open_source(path), self.options.class_names
        if names is None:
            return source
        if len(names) != len(source.class_names):
            raise SpecError(
                "task.class_names", f"{len(names)} names for the {len(source.class_names)} classes of {path}"
            )
        if not all(name.isdigit() for name in source.class_names) and tuple(names) != source.class_names:
            # Given in another order they would change places without a word.
            raise SpecError(
                "task.class_names",
                f"the classes of {path} have names already, in the order of the alphabet: "
                f"{', '.join(source.class_names[:8])}{', ...' if len(source.class_names) > 8 else ''}; leave it out",
            )
        return replace(source, class_names=tuple(names))

    def _arrangement(self, source: Source) -> Arrangement:
        """Each split's images together, so that they are a split's tensor where they lie."""
        assert source.labels is not None  # every source of `open_source` has labels
        labels, splits = source.labels, None if source.splits is None else np.array(source.splits)
        apart = self.options.test_path is not None
        depends_on = hashlib.sha256(labels.tobytes() + repr((self.plan, source.splits, apart)).encode())

        def order(kept: NDArray[np.int64]) -> NDArray[np.int64]:
            rows_of = self._rows(source.class_names, labels[kept], None if splits is None else splits[kept])
            return np.concatenate([*rows_of.values()])

        return Arrangement(depends_on.hexdigest(), order)

    def _read(
        self, source: Source, path: str, channels: int | None, bits: int | None, arrangement: Arrangement | None
    ) -> _Part:
        assert source.labels is not None  # as above
        decoded = decode(source.images, source.names, self.options.size, channels, self.cache, bits, arrangement)
        kept = decoded.kept
        unreadable = decoded.lost(source.names)
        if len(unreadable) > self.options.max_unreadable * len(source.images):
            some = ", ".join(unreadable[:5]) + (", ..." if len(unreadable) > 5 else "")
            raise TaskError(
                f"{path}: {len(unreadable)} of {len(source.images)} images cannot be read ({some}); more than "
                f"max_unreadable {self.options.max_unreadable:g} of them"
            )
        splits = None if source.splits is None else tuple(source.splits[i] for i in kept)
        names = tuple(source.names[i] for i in kept)
        rest = replace(source, images=())  # or the files' contents would stay beside their pixels
        return _Part(rest, decoded.values, source.labels[kept], names, splits, unreadable, decoded.bits)

    @cached_property
    def rows(self) -> Rows:
        """Row numbers of each split; test rows of a `test_path` count from 0 in it."""
        main = self._main
        rows_of = self._rows(main.class_names, main.labels, None if main.splits is None else np.array(main.splits))
        if self._test is not None:
            rows_of["test"] = np.arange(len(self._test.labels))
        return rows_of

    def _rows(self, names: Sequence[str], labels: NDArray[Any], splits: NDArray[Any] | None) -> Rows:
        """Row numbers of the splits of `path`, by the labels of its readable images and what it says of their split."""
        classes, apart = classes_among(labels), self.options.test_path is not None
        if classes is not None:
            self._check_classes(names, classes, splits is None)
        if splits is None:
            return make_split(self.plan, len(labels), classes, None, with_test=not apart)
        return self._declared(splits, labels, apart)

    @cached_property
    def folds(self) -> NDArray[np.int64] | None:
        """The fold of each training image and, behind them, of each validation image; None where there are none."""
        declared = self._main.splits
        if self.plan.folds is not None and declared is not None and "valid" in declared:
            raise SpecError("task.split.folds", f"{self.plan.folds} folds are not possible where a folder says 'valid'")
        return make_folds(self.plan, self.rows, classes_among(self._main.labels), None)

    def _check_classes(self, names: Sequence[str], classes: NDArray[np.int64], made: bool) -> None:
        if classes.ndim == 2:
            return
        counts = np.bincount(classes, minlength=len(names))
        if int((counts > 0).sum()) < 2:
            raise TaskError(f"{self.options.path}: has one class only ({names[int(classes[0])]!r}); two are needed")
        if len(names) > len(classes) // 2:
            raise TaskError(f"{self.options.path}: {len(names)} classes for {len(classes)} images")
        drawn = made and self.plan.kind in ("auto", "stratified")
        least = 2 if self.options.test_path is not None or not drawn else 3  # one for each split that is drawn from it
        for name, count in zip(names, counts, strict=True):
            if count < least:
                raise TaskError(
                    f"{self.options.path}: class {name!r} has {count} readable example{'s' if count > 1 else ''}, and "
                    f"at least {least} are needed; leave it out"
                )

    def _declared(self, splits: NDArray[Any], classes: NDArray[np.int64], apart: bool) -> Rows:
        """What the folders say; a validation or test split that is not there is made from `train`."""
        rows_of = {split: np.flatnonzero(splits == split) for split in ("train", "valid", "test")}
        lacking = [split for split in ("valid", "test") if len(rows_of[split]) == 0 and not (split == "test" and apart)]
        if len(rows_of["train"]) == 0:
            raise TaskError(f"{self.options.path}: has no training images (folder train)")
        if lacking:
            train = rows_of["train"]
            made = make_split(self.plan, len(train), classes[train], None, with_test="test" in lacking)
            if "valid" not in lacking:
                made["train"] = np.concatenate([made["train"], made.pop("valid")])
            rows_of |= {split: train[rows] for split, rows in made.items()}
        return rows_of

    @property
    def parts(self) -> tuple[_Part, ...]:
        """What was read of each source, that of `path` first."""
        return (self._main,) if self._test is None else (self._main, self._test)

    def _of(self, split: str) -> _Part:
        return self._test if split == "test" and self._test is not None else self._main

    def pixels(self, split: str) -> NDArray[np.uint8]:
        """A split's images, uint8 [n, c, h, w]."""
        if split == "test" and self._test is not None:
            return self._test.pixels
        sizes = {name: len(rows) for name, rows in self.rows.items() if self._of(name) is self._main}
        ends = dict(zip(sizes, np.cumsum([*sizes.values()]), strict=True))
        return self._main.pixels[ends[split] - sizes[split] : ends[split]]

    @property
    def to_learn_from(self) -> NDArray[np.uint8]:
        """The images of training and, behind them, of validation, as they lie."""
        return self._main.pixels[: len(self.rows["train"]) + len(self.rows["valid"])]

    @cached_property
    def learned_from(self) -> str:
        """By which the images to learn from are known again, with their labels and their split."""
        digest = hashlib.sha256(repr((self._main.class_names, self.to_learn_from.shape)).encode())
        for split in ("train", "valid"):
            digest.update(self.labels(split).tobytes())
            for image in self.pixels(split):  # one at a time: they may lie in a file, and be more than the memory
                digest.update(np.ascontiguousarray(image).data)
            digest.update(split.encode())
        if self.folds is not None:
            digest.update(self.folds.tobytes())
        return digest.hexdigest()[:24]

    @property
    def learned_names(self) -> str:
        """The same without their pixels, which at another size are others: each image by its name."""
        digest = hashlib.sha256(repr(self._main.class_names).encode())
        for split in ("train", "valid"):
            labels = self.labels(split)
            digest.update(repr((split, labels.shape)).encode())
            digest.update(labels.tobytes())
            for row in self.rows[split]:
                digest.update(repr(self._main.names[row]).encode())
        if self.folds is not None:
            digest.update(self.folds.tobytes())
        return digest.hexdigest()[:24]

    def labels(self, split: str) -> NDArray[Any]:
        """A split's classes [n], labels [n, classes] or values [n, t]."""
        return self._of(split).labels[self.rows[split]]

    def image(self, split: str, index: int) -> NDArray[np.uint8]:
        """One of a split's images, uint8 [c, h, w]."""
        pixels: NDArray[np.uint8] = self.pixels(split)[index]
        return pixels

    def name(self, split: str, index: int) -> str:
        """What a split's image is called."""
        return self._of(split).names[int(self.rows[split][index])]

    @cached_property
    def fitted(self) -> Fitted:
        """What was learned from the training images."""
        main, target = self._main, self._main.source.target
        train = self.pixels("train")
        # By histograms: exact, and without a copy of all pixels as floats.
        counts = np.stack([_histogram(train[:, c]) for c in range(train.shape[1])])
        values, n = np.arange(256) / 255, counts.sum(axis=1)
        mean = counts @ values / n
        std = np.sqrt(np.maximum(counts @ values**2 / n - mean**2, 0.0))
        return Fitted(
            main.class_names,
            main.labels.ndim == 2 and classes_among(main.labels) is not None,
            channels=int(train.shape[1]),
            height=int(train.shape[2]),
            width=int(train.shape[3]),
            mean=tuple(float(m) for m in mean),
            std=tuple(float(s) if s > 1e-6 else 1.0 for s in std),
            bits=main.bits,
            thresholds=True,
            target=None if target is None else of_training(target, self.labels("train")),
        )

    def _kind_and_metrics(self) -> tuple[str, tuple[str, ...]]:
        fitted = self.fitted
        targets = {split: self.labels(split) for split in self.rows}
        if fitted.target is not None:
            return kind_and_metrics(fitted.target, self.options, targets)
        self.options.check_beside(fitted.kind)
        check_defined(self.options, fitted.kind, targets)
        return fitted.kind, measured(self.options, fitted.kind)

    def describe(self) -> Description:
        """What was found and what is doubtful, for people."""
        fitted, names = self.fitted, self._main.class_names
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        sizes = ", ".join(f"{len(self.rows[split])} {split}" for split in ("train", "valid", "test"))
        by_class = classes_among(self._main.labels) is not None
        declared = "as the folders say" if self._main.splits else self.plan.resolved(by_class)
        train, valid = self.labels("train"), self.labels("valid")
        kind, metrics = self._kind_and_metrics()
        facts = (
            *(() if fitted.target is None else fitted.target.lines(self.options.primary)),
            *((f"{'labels' if fitted.multilabel else 'classes'} ({len(names)}): {shown}",) if by_class else ()),
            f"images {sizes} (split: {declared})",
            f"{fitted.channels} channels of {fitted.width}x{fitted.height} pixels",
            *(() if self.folds is None else (described(self.folds),)),
            *(facts_of(train, valid, names) if by_class else ()),
        )
        folds = None if self.folds is None else int(self.folds.max()) + 1
        return Description(facts, warnings_of(self), len(self.rows["train"]), kind, metrics, folds)


def _histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value stands in pixels [n, h, w]; image by image, as it is counted in eight times the bytes."""
    counts = np.zeros(256, dtype=np.int64)
    for image in pixels:
        counts += np.bincount(image.ravel(), minlength=256)
    return counts


def _limited(source: Source, limit: int, seed: int) -> Source:
    """A part of the images, each class in its share."""
    labels = source.labels
    assert labels is not None  # asked before
    random = np.random.default_rng(seed)
    if labels.ndim == 1:
        groups = [np.flatnonzero(labels == value) for value in np.unique(labels)]
        chosen = [random.permutation(rows)[: max(round(limit * len(rows) / len(labels)), 1)] for rows in groups]
        rows = np.sort(np.concatenate(chosen))
    else:
        rows = np.sort(random.permutation(len(labels))[:limit])
    splits = None if source.splits is None else tuple(source.splits[i] for i in rows)
    images, names = [source.images[i] for i in rows], tuple(source.names[i] for i in rows)
    return replace(source, images=images, names=names, labels=labels[rows], splits=splits)
