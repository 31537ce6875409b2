"""What a spec may say of images, refused where it is impossible. Needs no torch."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lab.errors import SpecError, nearest
from lab.tasks.balance_options import Balanced
from lab.tasks.images.augmentation import Augmentation
from lab.tasks.options import FLAG, KEPT_PATH, PATH, SHARE, Allowed, one_of, option, whole
from lab.tasks.splits import SPLIT_MEANING, SplitPlan
from lab.tasks.table.dialect import Dialect
from lab.tasks.targeted import TARGET, Targeted, TypesOfTargets, names_of
from lab.tasks.transfer.adapter_options import MADE_ONCE, Adapting
from lab.tasks.undecided import Undecided

MAX_SIZE = 4096
"""Side in pixels: one more digit is a slip, and would fill the memory before anything is said."""
BUILT_IN = ("small_cnn", "resnet")
LIBRARIES = ("timm", "torchvision")

_VARIED = tuple(entry.name for entry in fields(Augmentation))
_OF_WEIGHTS = "is for a net that begins with weights: task.pretrained: true, or task.weights"

_TABLES = (".csv", ".tsv", ".parquet")
_COLUMN = Allowed("is neither a column's name nor a list of them", lambda value: value is None or TARGET.holds(value))
_IMAGE = Allowed("is not a column's name", lambda value: value is None or (isinstance(value, str) and value != ""))
_NAMES = Allowed(
    "is not a list of names",
    lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
)


def check_net(name: str) -> None:
    """Refuse the name of a net that cannot be had.

    Raises:
        SpecError: with the choices.
    """
    if not isinstance(name, str):
        raise SpecError("task.model", f"{name!r} is not the name of a net")
    if name in BUILT_IN or name.partition(":")[0] in LIBRARIES:
        return
    choices = ", ".join([*BUILT_IN, *(f"{library}:NAME" for library in LIBRARIES)])
    raise SpecError("task.model", f"{name!r} is unknown{nearest(name, BUILT_IN)}; choices: {choices}")


class ImageOptions(Augmentation, TypesOfTargets, Targeted, Balanced, Adapting, Dialect):
    """What a spec may say of images."""

    path: str = option(
        "the images: a folder of class folders, a table of them (.csv, .tsv, .parquet), .npz, a saved data set, or "
        "hub:NAME",
        PATH,
    )
    """A folder may hold `train`, `valid`, `test` with class folders. A table has a column image (or img), of files by
    their path from its folder or, in a parquet, of their content, and label; an npz has x uint8
    [n, h, w(, channels)] and y."""
    test_path: str | None = option(
        "test images in the same form; without it they are taken from the first", PATH, default=None
    )
    model: str = option(
        "small_cnn, resnet, timm:NAME or torchvision:NAME; another net: a subclass of lab.Images", default="small_cnn"
    )
    size: int | None = option(
        "side in pixels to which images are brought; needed where they differ", whole(1), default=None
    )
    limit: int | None = option(
        "at most so many images of `path`, drawn by the split's seed, each class in its share", whole(1), default=None
    )
    split: Any = option(SPLIT_MEANING, default="auto")
    max_unreadable: float = option("share of images that may be unreadable", SHARE, default=0.01)
    class_names: list[str] | None = option(
        "what the classes are called, in their order, where the source has no names", _NAMES, default=None
    )
    pretrained: bool = option(
        "whether the net begins with the weights that its library has for it", FLAG, default=False
    )
    weights: str | None = option(
        "a file with the net's weights to begin with, .safetensors or PyTorch's own", PATH, default=None
    )
    from_study: str | None = option(
        "a finished study of the same images, at this or another size, with whose net, or body and head (train: head), "
        "the net begins and is then trained whole; what is needed of it is kept in this study's folder",
        KEPT_PATH,
        default=None,
    )
    train: str = option(
        "all, or head: of a net that begins with weights, whose body then makes features of all images once",
        one_of("all", "head"),
        default="all",
    )
    hidden: int = option(
        "units of a hidden layer in the head of a net that begins with weights; 0: it has none",
        whole(0, 65536),
        default=0,
        searched=True,
    )
    target: str | list[str] | None = option(
        "of a table of images, the column to predict, or a list of columns; without it label", _COLUMN, default=None
    )
    image: str | None = option(
        "of a table of images, the column that holds them; without it image, or img", _IMAGE, default=None
    )
    views: int = option(
        "views of an image that are averaged where the ensemble predicts: as it is, mirrored where flip is true, and "
        "each of these moved by `shift` pixels up, down, left and right",
        whole(1),
        default=1,
    )
    """Test-time augmentation; fastai's `Learner.tta` draws its views, these are the same for every image."""
    hold_norms: bool | None = option(
        "whether the batch norms of a net that begins with weights and is trained whole keep the statistics that they "
        "come with; without it they do with from_study, where a head has learned by them",
        Allowed(FLAG.refusal, lambda value: value is None or FLAG.holds(value)),
        default=None,
    )
    layer_groups: int = option(
        "parameter groups of a net that begins with weights and is trained whole: its body's, by depth, and the head's",
        whole(2, 64),
        default=2,
    )

    @property
    def targets(self) -> tuple[str, ...]:
        return names_of(self.target)

    def tabular(self, path: str) -> bool:
        """Whether the images of a path are the rows of a table of one's own; a parquet without a word is the Hub's."""
        if not path.lower().endswith(_TABLES):
            return False
        return not path.lower().endswith(_TABLES[-1]) or self.target is not None or self.image is not None

    @property
    def transfers(self) -> bool:
        """Whether the net begins with weights: a body's, to which a new head comes, or those of a study's net."""
        return self.pretrained or self.weights is not None or self.from_study is not None

    @property
    def holds_norms(self) -> bool:
        return self.from_study is not None if self.hold_norms is None else self.hold_norms

    @property
    def trains_head(self) -> bool:
        return self.train == "head"

    @property
    def most_views(self) -> int:
        """How many views of an image there are."""
        return (2 if self.flip is True else 1) * (5 if self.shift else 1)

    def settled(self) -> dict[str, str]:
        settled = super().settled()
        if self.trains_head:
            return settled | dict.fromkeys((*_VARIED, "layer_groups"), MADE_ONCE)
        if self.from_study is not None:
            return settled | {"hidden": "is that of the head of task.from_study"}
        return settled if self.transfers else settled | dict.fromkeys(("hidden", "layer_groups"), _OF_WEIGHTS)

    def no_adapter(self) -> str:
        if not self.transfers:
            return _OF_WEIGHTS
        return MADE_ONCE if self.trains_head else ""

    def undecided(self) -> dict[str, Undecided]:
        tried = {} if self.trains_head else super().undecided()
        if len(self.targets) > 1 or self.target_type == "number":
            tried.pop("flip", None)  # a number may be a place in the image, which is another one when mirrored
        return tried

    def check(self) -> None:
        super().check()
        check_net(self.model)
        self._check_transfer()
        self._check_table()
        if self.size is not None and self.size > MAX_SIZE:
            raise SpecError("task.size", f"{self.size} is above {MAX_SIZE} pixels")
        if self.class_names is not None and len(set(self.class_names)) < len(self.class_names):
            raise SpecError("task.class_names", f"{self.class_names!r} has a name twice")
        if self.views > 1 and self.trains_head:
            raise SpecError("task.views", MADE_ONCE)
        if self.views > self.most_views:
            more = "" if self.shift and self.flip is True else "; task.flip: true and task.shift give more"
            raise SpecError("task.views", f"{self.views} is above {self.most_views}, as many as there are{more}")

    def _check_table(self) -> None:
        if self.image is not None and self.image in self.targets:
            raise SpecError("task.image", f"{self.image!r} is the target as well")
        for name in ("path", "test_path"):
            path = getattr(self, name)
            if path is None:
                continue
            if self.target is not None and not self.tabular(path):
                raise SpecError("task.target", f"{self.target!r} is a column, and task.{name} {path} is no table")
            if self.tabular(path) != self.tabular(self.path):
                raise SpecError(f"task.{name}", f"{path}: one of it and task.path is a table, the other is none")
            if self.tabular(path) and self.class_names is not None:
                raise SpecError("task.class_names", "is for a source without names; a table has those in its cells")
        if self.from_study is not None and self.tabular(self.path):
            raise SpecError("task.from_study", f"is not for images in a table, as {self.path} is one")

    def _check_transfer(self) -> None:
        if self.from_study is not None:
            self._check_from_study()
        if self.pretrained and self.weights is not None:
            raise SpecError("task.weights", "is given beside task.pretrained; one of them says where weights come from")
        if self.transfers and self.model in BUILT_IN:
            raise SpecError("task.model", f"{self.model!r} has no weights; choose timm:NAME or torchvision:NAME")
        if self.trains_head and not self.transfers:
            raise SpecError("task.train", "'head' needs a body with weights: task.pretrained: true, or task.weights")
        if self.hold_norms and (self.trains_head or not self.transfers):
            raise SpecError("task.hold_norms", "is for a net that begins with weights and is trained whole")
        if self.hold_norms is False and self.adapter is not None:
            raise SpecError(
                "task.hold_norms", "false is not possible beside task.adapter, which leaves a body as it is"
            )
        if self.hidden and not self.transfers:
            raise SpecError("task.hidden", _OF_WEIGHTS)
        varied = [name for name in _VARIED if getattr(self, name) not in (self.default(name), False)]
        if self.trains_head and varied:
            raise SpecError(f"task.{varied[0]}", MADE_ONCE)

    def _check_from_study(self) -> None:
        for name in ("pretrained", "weights"):
            if getattr(self, name):
                raise SpecError(
                    f"task.{name}", "is given beside task.from_study, which brings the weights; leave it out"
                )
        if self.trains_head:
            raise SpecError("task.train", "'head' is what task.from_study has done; task.train: all goes on from there")
        if SplitPlan.parse(self.split).folds is not None:
            raise SpecError(
                "task.split.folds", "are not for a net with task.from_study, whose head has seen every fold"
            )
