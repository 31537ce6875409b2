"""What a kind of net does not read is neither searched nor passed over without a word."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import SpecError
from lab.study.check import check_components, unread_doubts
from lab.tasks.text.options import AWD_LSTM, BAG, CNN, DROPOUTS, TRANSFORMER, TextOptions
from lab.tasks.transfer.adapter_options import MADE_ONCE
from tests.small import small_spec

PRETRAINED = {"model": AWD_LSTM, "from_study": "runs/model"}
BODY = {"model": "hf:", "weights": "folder"}
HEAD = {**BODY, "train": "head"}
WIDTHS = ("width", "layers", "units")


def spec_of(options: dict[str, Any], **sections: Any) -> Any:
    return small_spec(task={"kind": "text", "path": "texts.csv", **options}, **sections)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"model": BAG}, ("layers", "units", *DROPOUTS[1:])),
        ({"model": CNN}, ("layers", "units", *DROPOUTS[1:])),
        ({"model": TRANSFORMER}, ("units", *DROPOUTS[1:])),
        ({"model": AWD_LSTM}, ()),
        (PRETRAINED, WIDTHS),
        (BODY, (*WIDTHS, *DROPOUTS[1:])),
        (HEAD, (*WIDTHS, "word_dropout", *DROPOUTS[1:])),
    ],
)
def test_what_a_net_does_not_read_is_not_searched(options: dict[str, Any], names: tuple[str, ...]):
    of_adapters = ("rank", "alpha")
    settled = set(TextOptions.parse({"path": "texts.csv", **options}).settled())
    assert settled & set(TextOptions.reads()) - set(of_adapters) == set(names)
    searched = {"max_lr": {"low": 0.001, "high": 0.1}}
    for name in (*WIDTHS, "hidden", "word_dropout", *DROPOUTS):
        dimension = {"low": 0.0, "high": 0.5} if "dropout" in name else {"choice": [4, 8]}
        spec = spec_of(options, space={**searched, name: dimension})
        if name in names:
            with pytest.raises(SpecError, match=rf"space\.{name}: (is|has)"):
                check_components(spec)
            check_components(spec, begun=True)  # an earlier version let it begin
        else:
            check_components(spec)


_TOKENS = "task.tokens is that of a tokenizer that is there already; 'bpe' is not used"
_GROUPS = "task.layer_groups is for model awd_lstm, or a net that was trained before; 3 is not used"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": BAG, "layers": 5}, "task.layers is for models transformer and awd_lstm; 5 is not used"),
        ({"model": TRANSFORMER, "units": 5}, "task.units is for model awd_lstm; 5 is not used"),
        ({**PRETRAINED, "width": 32}, "task.width is that of the net that was trained before; 32 is not used"),
        (
            {**PRETRAINED, "vocabulary": 9},
            "task.vocabulary is that of a tokenizer that is there already; 9 is not used",
        ),
        ({"tokenizer": "t.json", "tokens": "bpe"}, _TOKENS),
        ({"model": AWD_LSTM, "heads": 2}, "task.heads is for model transformer; 2 is not used"),
        ({"model": BAG, "layer_groups": 3}, _GROUPS),
        ({**HEAD, "layer_groups": 3}, f"task.layer_groups {MADE_ONCE}; 3 is not used"),
    ],
)
def test_an_option_that_is_not_read_is_doubted(options: dict[str, Any], line: str):
    assert unread_doubts(spec_of(options)) == (line,)


@pytest.mark.parametrize(
    "options",
    [
        {"model": BAG, "width": 32, "tokens": "bpe", "vocabulary": 9},
        {"model": AWD_LSTM, "layers": 5, "layer_groups": 3},
        {"model": TRANSFORMER, "heads": 2},
        {**PRETRAINED, "layer_groups": 3},
        PRETRAINED,
        HEAD,
    ],
)
def test_one_that_is_read_or_not_said_is_not_doubted(options: dict[str, Any]):
    assert unread_doubts(spec_of(options)) == ()
