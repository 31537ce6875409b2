"""A folder as Hugging Face's `transformers` keeps a net: a small one with random weights, and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, processors

from lab.tasks.text.tokens import learned
from tests.own_data import reviews

FEATURES = 16
LONGEST = 24


def write_body(folder: Path, seed: int = 0) -> Path:
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(learned([*reviews()["text"], "[PAD] [CLS] [SEP] " * 4], "words", 200).dump())
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    ends = [(word, tokenizer.token_to_id(word)) for word in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=FEATURES,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.token_to_id("[PAD]"),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder
