"""The task `images`: a net on a user's images. n images, c channels, h and w pixels, k slots, b examples of a batch."""

from __future__ import annotations

import base64
import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from lab.errors import TaskError
from lab.tasks.description import Description
from lab.tasks.images import nets
from lab.tasks.images.augment import augment, varied, views_of
from lab.tasks.images.augmentation import COLUMNS, MIXING
from lab.tasks.images.decode import decode
from lab.tasks.images.delivered import Delivered, delivered
from lab.tasks.images.files import folders_in
from lab.tasks.images.image_data import Fitted, ImageData
from lab.tasks.images.options import ImageOptions
from lab.tasks.images.pretrained import Body, kept_body
from lab.tasks.images.rows import read_rows
from lab.tasks.images.source import Source, open_source, plain_images, raw_of, relabelled
from lab.tasks.images.whole import kept_net, with_dropout
from lab.tasks.options import constructed_by
from lab.tasks.table.target import Target
from lab.tasks.targeted_task import TargetedTask
from lab.tasks.task import TRAIN_AND_VALID, Baseline, Data, Given, Split
from lab.tasks.to_values import with_values
from lab.tasks.transfer.adapter import AdaptedBody
from lab.tasks.transfer.features import digest_of, features, kept_features, scale_of, scaled
from lab.tasks.transfer.head import groups_of, head, with_head


class Images(TargetedTask):
    """Classes, labels or values of images; of a table also several targets of different kinds.

    The parameters are those of `ImageOptions`, and hyperparameters it knows `dropout` and what `Augmentation` lists. A
    net of one's own: a subclass with its own `model`.

    >>> pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    >>> np.savez("shades.npz", x=pixels, y=np.arange(60) % 2)
    >>> task = Images("shades.npz", class_names=["dark", "bright"], shift=1)
    >>> task.class_names, task.data("valid")[0].shape
    (('dark', 'bright'), torch.Size([12, 3, 8, 8]))
    """

    paths = ImageOptions.paths()
    soft_targets = True

    @constructed_by(ImageOptions)
    def __init__(self, options: ImageOptions) -> None:
        self._options = options
        self.options = options.plain()
        self._fitted: Fitted | None = None
        self._tensors: dict[Split, Data] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels as its options: a worker reads the images itself, or what was decoded before from the cache."""
        return _rebuilt, (type(self), dict(self.options), self.cache, self._fitted)

    @cached_property
    def _data(self) -> ImageData:
        return ImageData(self._options, self.cache)

    @cached_property
    def _body(self) -> Body:
        options, images = self._options, self._of_images
        size = images.height, images.width
        if options.from_study is None:
            return kept_body(options, size, self.cache, images.body, self.fetches)
        return kept_net(options, size, self.cache, images.body, self.fetches, self._delivered)

    @cached_property
    def _adapted(self) -> AdaptedBody | None:
        plan, net = self._options.plan(), self._body.net
        if plan is None:
            return None
        body = net if self._options.from_study is None else net.get_submodule("body")
        return AdaptedBody(body, plan, self._options.holds_norms)

    def _delivered(self) -> Delivered:
        return delivered(self._options, self._of_images, self._data)

    @property
    def _of_images(self) -> Fitted:
        return self._fitted or self._data.fitted

    @property
    def _learned(self) -> Fitted:
        """What was learned from the images and, beside it, what is known of the net that begins with weights."""
        return self._fitted or (self._with_body if self._options.transfers else self._data.fitted)

    @cached_property
    def _with_body(self) -> Fitted:
        images, body = self._data.fitted, self._body
        features = body.features_of((images.height, images.width), self._options.model)
        fitted = replace(images, mean=body.mean, std=body.std, body=body.digest)
        if self._options.from_study is not None:
            return fitted
        fitted = replace(fitted, features=features)
        if not self._options.trains_head:
            return fitted
        made = self._made(self._pixels("train"), fitted)
        center, spread = scale_of(made)
        fitted = replace(fitted, center=center, spread=spread)
        labels = torch.from_numpy(self._data.labels("train"))
        self._tensors["train"] = scaled(made, center, spread), labels  # they are here
        return fitted

    # What the labels decide; read-only where the contract has plain attributes, as it is known only with the data.

    @property
    def kind(self) -> Any:  # type: ignore[override]
        return self._of_images.kind

    @property
    def class_names(self) -> Any:  # type: ignore[override]
        several = self._several
        return self._of_images.class_names if several is None else several.columns

    @property
    def _target(self) -> Target | None:
        return self._of_images.target

    # The contract.

    def data(self, split: Split) -> Data:
        """Pixels uint8 [n, c, h, w], or features [n, f] where the head alone is trained; classes [n], labels
        [n, classes] or values [n, t]."""
        if self._options.trains_head and not self._tensors:
            _ = self._learned  # for which the training images' features may have to be made
        if split not in self._tensors:  # a lane has no use for the test images
            self._tensors[split] = self._inputs(self._pixels(split)), torch.from_numpy(self._data.labels(split))
        return self._tensors[split]

    def _pixels(self, split: Split) -> Tensor:
        """A split's pixels; those of training and validation are of one tensor, so that joining them copies nothing."""
        if split == "test":
            return torch.from_numpy(self._data.pixels(split))
        train, valid = torch.split(self._to_learn_from, [len(self._data.rows[s]) for s in TRAIN_AND_VALID])
        return train if split == "train" else valid

    @cached_property
    def _to_learn_from(self) -> Tensor:
        return torch.from_numpy(self._data.to_learn_from)

    def _inputs(self, pixels: Tensor) -> Tensor:
        """What is trained on: pixels, or features of one scale."""
        if not self._options.trains_head:
            return pixels
        fitted = self._learned
        return scaled(self._made(pixels, fitted), fitted.center, fitted.spread)

    def _made(self, pixels: Tensor, fitted: Fitted) -> Tensor:
        """Features of the frozen body [n, f], made once."""
        name = f"features-{digest_of(pixels, fitted.body)}.safetensors"
        see = partial(normalised, mean=fitted.mean, std=fitted.std)
        return kept_features(self.cache / name if self.cache else None, lambda: features(self._body.net, see, pixels))

    def fold_of_rows(self) -> NDArray[np.int64] | None:
        return self._data.folds

    def take(self, splits: Mapping[Split, Data]) -> None:
        self._tensors.update(splits)

    @property
    def mapped(self) -> bool:
        return not self._options.trains_head and isinstance(self._data.to_learn_from, np.memmap)

    @property
    def learned_before(self) -> str:
        return "" if self._options.from_study is None else "the head of task.from_study"

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        fitted, options = self._learned, self._options
        classes, dropout = len(self.class_names), float(params.get("dropout", 0.0))
        if not options.transfers:
            net = nets.build(options.model, fitted.channels, classes, dropout)
            return with_values(net, fitted.target)
        if options.from_study is not None:
            whole = with_dropout(self._body.net, dropout, params.get("hidden", options.hidden or None))
            if self._adapted is None:
                return whole
            return self._adapted.net(whole.get_submodule("norm"), whole.get_submodule("head"), params)
        plain = head(fitted.features, classes, dropout, int(params.get("hidden", options.hidden)))
        new = with_values(plain, fitted.target)
        if options.trains_head:
            return new
        if self._adapted is not None:
            return self._adapted.net(nn.BatchNorm1d(fitted.features), new, params)
        return with_head(copy.deepcopy(self._body.net), fitted.features, new, options.holds_norms)

    def groups(self, model: nn.Module) -> Sequence[Sequence[str]]:
        """Where a pretrained body is trained: its parameters, in as many groups as asked for, and those of the head."""
        options = self._options
        return groups_of(model, options.layer_groups) if options.transfers and not options.trains_head else ()

    def model_input(self, x: Tensor) -> Tensor:
        """Normalised pixels [..., c, h, w], by the training images' statistics or those of the weights that the net
        begins with, gray in three channels there; features as they are."""
        if self._options.trains_head:
            return x
        if x.is_floating_point():
            raise TaskError(f"images are given as uint8 pixels; got {x.dtype}")
        return normalised(x, self._learned.mean, self._learned.std)

    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32] | None:
        fitted = self._learned
        options: ImageOptions = self._options
        count = self._counts(params, examples)
        if options.trains_head:
            return count
        if self.kind == "regression":
            self._check_mixing(params)
        drawn = options.draw(examples, (fitted.height, fitted.width), random, {**self.assumed, **params})
        return drawn if count is None else np.concatenate([drawn, count], axis=1)

    def _check_mixing(self, params: Mapping[str, Any]) -> None:
        for name in MIXING:
            value = params.get(name, getattr(self._options, name))
            if value:
                raise TaskError(f"{name}: {value!r} is for a target of classes or labels; this one's are values")

    def augment(self, x: Tensor, y: Tensor, draws: Tensor) -> Data:
        """Varied pixels with their targets; behind the numbers for that there may be how much examples, or targets,
        count."""
        varies = not self._options.trains_head
        if varies and self.kind == "regression":
            x = varied(x, draws)
        elif varies:
            x, y = augment(x, y, draws, len(self._learned.class_names), self.kind == "classification")
        return x, self._counted(y, draws[..., COLUMNS:] if varies else draws)

    def baselines(self, seed: int) -> tuple[Baseline, ...]:
        from lab.tasks.baselines import of_tensors, of_values

        if self.kind != "regression":
            return of_tensors(self, seed)
        return of_values(self, [] if self._several is None else list(self._several.parts.values()))

    def views(self, x: Tensor) -> Sequence[Tensor]:
        """As many as the option `views` says."""
        options: ImageOptions = self._options
        return views_of(x, options.flip is True, options.shift)[: options.views] if options.views > 1 else (x,)

    # A user's later files and the report.

    def prepare(self, raw: NDArray[Any]) -> Tensor:
        """Pixels 0..255 [n, h, w] or [n, h, w, channels]."""
        if raw.ndim not in (3, 4) or raw.min() < 0 or raw.max() > 255:
            raise TaskError(f"images of shape {raw.shape} are not pixels 0..255 [n, h, w] or [n, h, w, channels]")
        names = tuple(f"row {i}" for i in range(len(raw)))
        return self._to_predict(Source(list(raw.astype(np.uint8)), names, None)).x

    def read(self, path: str | Path) -> Given:
        """An image, a folder of images (in class folders or not), or a file in one of the forms of `path`."""
        path = Path(path)
        if not path.exists():
            raise TaskError(f"{path}: does not exist")
        fitted = self._learned
        if fitted.target is not None and self._options.tabular(str(path)):
            source, why_not = read_rows(str(path), self._options, fitted.target)
            inputs = self._to_predict(source)
            return replace(inputs, notes=(*inputs.notes, *why_not))
        below = [folder.name for folder in folders_in(path)] if path.is_dir() else []
        in_classes = bool(below) and set(below) <= set(fitted.class_names)
        labelled = in_classes or path.suffix in (".parquet", ".npz")
        if not labelled:
            return self._to_predict(plain_images(path))
        source, names = open_source(str(path), labelled=False), self._options.class_names
        if names is not None and len(names) == len(source.class_names):
            source = replace(source, class_names=tuple(names))
        return self._to_predict(source)

    def accept(self, raw: Any) -> Given:
        """Images of Pillow, or paths of image files."""
        images = [raw] if isinstance(raw, (str, Path)) else list(raw)
        if not images:
            raise TaskError("there are no inputs to predict for")
        names = tuple(str(one) if isinstance(one, (str, Path)) else f"image {i}" for i, one in enumerate(images))
        return self._to_predict(Source([raw_of(one) for one in images], names, None))

    def _to_predict(self, source: Source) -> Given:
        fitted = self._learned
        size = self._options.size
        if size is None and fitted.height == fitted.width:
            size = fitted.width
        decoded = decode(source.images, source.names, size, fitted.channels, None, fitted.bits)
        if decoded.values.shape[1:] != (fitted.channels, fitted.height, fitted.width):
            got = "x".join(map(str, decoded.values.shape[1:]))
            raise TaskError(f"images are {got}; those trained on {fitted.channels}x{fitted.height}x{fitted.width}")
        lost = decoded.lost(source.names)
        notes = tuple(source.passed_over.lines())
        if lost:
            notes += (f"{len(lost)} images cannot be read and are left out: {', '.join(lost[:5])}",)
        y, unknown = None, sorted(set(source.class_names) - set(fitted.class_names))
        if unknown:
            notes += (f"is not scored: class {unknown[0]!r} is not among those trained on",)
        elif source.labels is not None:
            y = torch.from_numpy(relabelled(source, fitted.class_names)[decoded.kept])
        names = tuple(source.names[i] for i in decoded.kept)
        return Given(self._inputs(torch.from_numpy(decoded.values)), y, names, notes)

    def data_names(self) -> Mapping[str, Sequence[str]]:
        target = self._data.fitted.target
        return {"class": self._data.fitted.class_names} if target is None else target.data_names

    def fitted(self) -> Mapping[str, Any]:
        learned = self._learned
        if self._fitted is None and self._options.transfers:  # here: lanes need not know it, and all pixels are read
            images = self._data.learned_from, self._data.learned_names
            learned = replace(learned, net=self._options.model, learned_from=images[0], learned_names=images[1])
        return learned.dump()

    def restore(self, fitted: Mapping[str, Any]) -> None:
        self._fitted = Fitted.load(fitted)
        self._at_half = not self._fitted.thresholds

    def describe(self) -> Description:
        described = self._data.describe()
        if not self._options.transfers:
            return described
        fitted, options = self._learned, self._options
        if options.from_study is not None:
            begun = f"{options.model} begins with the body and the head of {options.from_study}"
            return replace(described, facts=(*described.facts, begun))
        source = "its library's weights" if options.pretrained else "the weights of a file"
        begins = f"{options.model} begins with {source}, and has a new head"
        frozen = f"; its body makes {fitted.features} features of each image once, and is not trained"
        return replace(described, facts=(*described.facts, begins + (frozen if options.trains_head else "")))

    def show(self, split: Split, index: int) -> Mapping[str, str]:
        pixels = self._data.image(split, index)
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        stream = io.BytesIO()
        image.save(stream, format="PNG")
        uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        return {"name": self._data.name(split, index), "image": uri}


def normalised(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels uint8 [..., c, h, w] by the mean and standard deviation of channels, of pixels in 0..1."""
    center, spread = (torch.tensor(values, device=x.device).view(-1, 1, 1) for values in (mean, std))
    return (x.to(torch.float32) / 255 - center) / spread


def _rebuilt(cls: type[Images], options: dict[str, Any], cache: Path | None, fitted: Fitted | None) -> Images:
    task = cls(**options)
    task.cache = cache
    task._fitted = fitted
    return task
