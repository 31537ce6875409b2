"""What a spec says of texts, refused where it is impossible. Needs neither torch nor pandas."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from lab.errors import SpecError
from lab.tasks.balance_options import Balanced
from lab.tasks.options import KEPT_PATH, PATH, SHARE, Allowed, Range, one_of, option, whole
from lab.tasks.splits import SPLIT_MEANING, SplitPlan
from lab.tasks.table.dialect import Dialect
from lab.tasks.targeted import TARGET, Targeted, TypesOfTargets, is_name, names_of
from lab.tasks.transfer.adapter_options import ATTENTION, MADE_ONCE, Adapting

BAG, CNN, TRANSFORMER, AWD_LSTM = "bag", "cnn", "transformer", "awd_lstm"
MODELS = (BAG, CNN, TRANSFORMER, AWD_LSTM)
"""Nets that begin with nothing."""
HF = "hf:"
"""What begins the name of a net of the Hugging Face Hub; alone it stands for one in a folder."""
WORDS, BPE, UNIGRAM = "words", "bpe", "unigram"
TOKENS = (WORDS, BPE, UNIGRAM)

MOST_TOKENS = 8192

DROPOUTS = ("dropout", *(f"{kind}_dropout" for kind in ("embedding", "input", "hidden", "output", "weight")))
"""The first multiplies all others of an AWD-LSTM, which have usual rates."""


_COLUMN = Allowed("is not a column's name", is_name)
_MODEL = Allowed(
    f"is unknown; choices: {', '.join(MODELS)}, {HF}NAME, or {HF} with task.weights",
    lambda value: value in MODELS or (isinstance(value, str) and value.startswith(HF)),
)
_COLUMNS = Allowed(TARGET.refusal, lambda value: value is None or TARGET.holds(value))


class TextSource(Dialect, TypesOfTargets):
    """What a spec says of where texts come from, and of the tokens that are made of them."""

    path: str = option(
        "a table with a text in each row: .csv, .tsv or .parquet; or a folder of .txt files, in a folder per class, "
        "which may lie below train, valid and test",
        PATH,
    )
    text: str = option("the column that holds the texts", _COLUMN, default="text")
    target: str | list[str] | None = option(
        "the column to predict, or a list of columns; one alone is of classes where target_type does not say number",
        TARGET,
        default="label",
    )
    valid_path: str | None = option("texts to validate on; without it they are taken from `path`", PATH, default=None)
    test_path: str | None = option("texts to test on; without it they are taken from `path`", PATH, default=None)
    split: Any = option(SPLIT_MEANING, default="auto")
    tokens: str = option(
        f"what is learned of the training texts: whole {WORDS}, or pieces of words, by {BPE} or {UNIGRAM}",
        one_of(*TOKENS),
        default=WORDS,
    )
    tokenizer: str | None = option(
        "a tokenizer that is there already, in place of one that is learned: Hugging Face's tokenizer.json",
        PATH,
        default=None,
    )
    vocabulary: int = option("at most so many different tokens are learned", whole(2, 1_000_000), default=20_000)

    def check(self) -> None:
        super().check()
        if self.text in self.targets:
            raise SpecError("task.text", f"{self.text!r} is the target as well")

    @property
    def targets(self) -> tuple[str, ...]:
        return names_of(self.target)


class TextOptions(TextSource, Targeted, Balanced, Adapting):
    """What a spec may say of texts."""

    hyperparameters: ClassVar[Mapping[str, Range]] = MappingProxyType(dict.fromkeys(DROPOUTS, SHARE.range))

    model: str = option(
        f"{BAG}: the mean of the tokens' embeddings; {CNN}: convolutions over 3, 4 and 5 tokens; {TRANSFORMER}; "
        f"{AWD_LSTM}, which may begin with a language model (from_study); or one that was trained before: {HF}NAME of "
        f"Hugging Face's Hub, or {HF} with task.weights",
        _MODEL,
        default=BAG,
    )
    weights: str | None = option(
        f"a folder with a net of Hugging Face's `transformers` to begin with, for model {HF}", PATH, default=None
    )
    from_study: str | None = option(
        f"a finished study of a language_model, with whose encoder and tokens the {AWD_LSTM} begins; what is needed of "
        "it is kept in this study's folder",
        KEPT_PATH,
        default=None,
    )
    train: str = option(
        "all, or head: of a net that was trained before, whose body then makes features of all texts once",
        one_of("all", "head"),
        default="all",
    )
    layer_groups: int | None = option(
        "parameter groups of a net that was trained before and is trained whole: its body's, by depth, and the head's; "
        f"without it 2, and of the {AWD_LSTM} one for each layer",
        whole(2, 64),
        default=None,
    )
    max_tokens: int | None = option(
        "where texts are cut; without it where 1 training text in 100 is longer, 256 at most",
        whole(1, MOST_TOKENS),
        default=None,
    )
    width: int = option("numbers of each token's embedding", whole(1, 4096), default=64, searched=True)
    hidden: int = option(
        "units of a hidden layer before the last; 0: there is none", whole(0, 65536), default=0, searched=True
    )
    layers: int = option(f"layers of the {TRANSFORMER} or the {AWD_LSTM}", whole(1, 48), default=2, searched=True)
    units: int | None = option(
        f"units of the {AWD_LSTM}'s layers before its last; without it as many as the width, which the last has",
        whole(1, 8192),
        default=None,
        searched=True,
    )
    heads: int = option(f"heads of attention of the {TRANSFORMER}", whole(1, 128), default=4)
    word_dropout: float = option(
        "share of the tokens that are left out of each training text, others at each step",
        SHARE,
        default=0.0,
        searched=True,
    )

    def settled(self) -> dict[str, str]:
        settled = super().settled()
        if self.transfers or self.tokenizer is not None:
            settled |= dict.fromkeys(("tokens", "vocabulary"), "is that of a tokenizer that is there already")
        if self.model != TRANSFORMER:
            settled["heads"] = f"is for model {TRANSFORMER}"
        if self.trains_head:
            settled |= dict.fromkeys(("word_dropout", "layer_groups", *DROPOUTS[1:]), MADE_ONCE)
        elif self.model != AWD_LSTM:
            settled |= dict.fromkeys(DROPOUTS[1:], f"is for model {AWD_LSTM}")
        if not self.transfers and self.model != AWD_LSTM:
            settled["layer_groups"] = f"is for model {AWD_LSTM}, or a net that was trained before"
        if self.transfers:
            return settled | dict.fromkeys(("width", "layers", "units"), "is that of the net that was trained before")
        if self.model not in (TRANSFORMER, AWD_LSTM):
            settled["layers"] = f"is for models {TRANSFORMER} and {AWD_LSTM}"
        return settled if self.model == AWD_LSTM else settled | {"units": f"is for model {AWD_LSTM}"}

    def refused(self, name: str, value: Any) -> str:
        if name == "width" and self.model == TRANSFORMER and int(value) % self.heads:
            return f"does not divide into task.heads: {self.heads}"
        return super().refused(name, value)

    def check(self) -> None:
        super().check()
        if why := self.refused("width", self.width):
            raise SpecError("task.width", f"{self.width} {why}")
        self._check_transfer()

    def _check_transfer(self) -> None:
        if (self.model == HF) != (self.weights is not None):
            raise SpecError(
                "task.weights", f"is {'needed' if self.model == HF else 'not used'} with model {self.model}"
            )
        if self.from_study is not None and self.model != AWD_LSTM:
            raise SpecError("task.from_study", f"is the encoder of an {AWD_LSTM}, and task.model is {self.model}")
        if self.trains_head and not self.transfers:
            raise SpecError(
                "task.train", f"'head' needs a body that was trained before: task.model: {HF}NAME, or task.from_study"
            )
        if self.model.startswith(HF) and self.tokenizer is not None:
            raise SpecError("task.tokenizer", f"is not used with model {self.model}, which brings its own")
        if self.trains_head and self.word_dropout:
            raise SpecError("task.word_dropout", MADE_ONCE)

    def adapter_targets(self) -> str:
        return ATTENTION

    def no_adapter(self) -> str:
        if not self.model.startswith(HF):
            return f"is for a net of transformers that was trained before: task.model: {HF}NAME"
        return MADE_ONCE if self.trains_head else ""

    @property
    def transfers(self) -> bool:
        """Whether the net was trained before, and has a new head."""
        return self.model.startswith(HF) or self.from_study is not None

    @property
    def trains_head(self) -> bool:
        return self.train == "head"


class LanguageOptions(TextSource):
    """What a spec may say of a language model."""

    hyperparameters: ClassVar[Mapping[str, Range]] = MappingProxyType(dict.fromkeys(DROPOUTS, SHARE.range))

    target: str | list[str] | None = option(
        "a column of classes to split by, so that the test texts are those of a classifier with the same split; "
        "nothing is learned of it",
        _COLUMNS,
        default=None,
    )
    window: int = option(
        "tokens through which is learned at once: texts, one behind the other, are cut into windows of so many, each "
        "of which begins without a state",
        whole(4, MOST_TOKENS),
        default=70,
    )
    width: int = option(
        "numbers of each token's embedding, and units of the last layer", whole(1, 4096), default=256, searched=True
    )
    units: int | None = option(
        "units of the layers before the last; without it as many as the width",
        whole(1, 8192),
        default=None,
        searched=True,
    )
    layers: int = option("layers", whole(1, 48), default=2, searched=True)

    def check(self) -> None:
        super().check()
        if SplitPlan.parse(self.split).folds is not None:
            raise SpecError("task.split.folds", "are not for a language model, whose windows lie across texts")
