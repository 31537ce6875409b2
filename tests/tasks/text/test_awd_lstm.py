"""The AWD-LSTM: what each dropout leaves out, what a text's features are, and probabilities of tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lab.tasks.text.awd_lstm import (
    NONE,
    OF_CLASSIFIER,
    OF_LANGUAGE_MODEL,
    USUAL,
    ConcatPooled,
    Encoder,
    NextToken,
    Rates,
    Sizes,
    classifier,
    depth,
    locked_dropout,
)
from lab.training.models import build_models
from lab.training.stacking.layouts import NotStackable

_SIZES = Sizes(codes=20, width=6, units=5, layers=3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _codes(n: int = 4, t: int = 7) -> Tensor:
    return torch.randint(1, 20, (n, t), generator=torch.Generator().manual_seed(1))


def test_without_dropout_it_is_pytorch_s_lstm():
    encoder, codes = Encoder(_SIZES).train(), _codes()
    x = encoder.embedding(codes)
    for layer in encoder.layers:
        x, _ = layer.lstm(x)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(encoder(codes), x)
    assert x.shape == (4, 7, 6)


def test_sizes_are_known_again_by_the_shapes_of_weights():
    for sizes in (_SIZES, Sizes(9, 4, 4, 1), Sizes(9, 4, 3, 2)):
        shapes = {name: tuple(tensor.shape) for name, tensor in Encoder(sizes).state_dict().items()}
        assert Sizes.of(shapes) == sizes
        assert Sizes.load(sizes.dump()) == sizes


def test_locked_dropout_is_the_same_at_each_token():
    x = torch.ones(50, 9, 40)
    dropped = locked_dropout(x, 0.4, training=True)
    assert (dropped == dropped[:, :1]).all()
    assert float((dropped == 0).float().mean()) == pytest.approx(0.4, abs=0.03)
    assert float(dropped.max()) == pytest.approx(1 / 0.6)
    assert locked_dropout(x, 0.4, training=False) is x


def test_embedding_dropout_leaves_a_word_out_wherever_it_stands():
    encoder = Encoder(Sizes(20, 6, 6, 1), replace(NONE, embedding=0.5)).train()
    seen: list[Tensor] = []
    encoder.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    codes = torch.arange(20).repeat(3, 2)
    encoder(codes)
    left_out = (seen[0] == 0).all(dim=2)
    assert (left_out == left_out[:1, :20].repeat(3, 2)).all()
    assert 0 < int(left_out[0, :20].sum()) < 20


def test_weight_dropout_is_of_weights_between_states_alone_and_leaves_them_as_they_are():
    encoder, codes = Encoder(Sizes(20, 6, 6, 1), replace(NONE, weight=0.5)), _codes()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    one, other = encoder.train()(codes), encoder(codes)
    torch.testing.assert_close(one[:, 0], other[:, 0])  # no state goes into the first
    assert not torch.allclose(one[:, 1:], other[:, 1:])
    assert torch.equal(encoder.eval()(codes), encoder(codes))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    one.sum().backward()
    grad = encoder.layers[0].lstm.weight_hh_l0.grad  # type: ignore[union-attr]
    assert float((grad == 0).float().mean()) == pytest.approx(0.5, abs=0.15)  # type: ignore[union-attr, arg-type]


def test_a_trial_s_dropout_multiplies_all_rates_and_sets_single_ones():
    assert Rates.of({}, OF_CLASSIFIER).weight == pytest.approx(USUAL * 0.5)
    rates = Rates.of({"dropout": 0.8, "weight_dropout": 0.25}, OF_LANGUAGE_MODEL)
    assert (rates.weight, rates.input) == (pytest.approx(0.2), pytest.approx(0.2))


def test_features_are_the_last_the_largest_and_the_mean_state():
    net = ConcatPooled(Encoder(_SIZES)).eval()
    codes = _codes()
    codes[1, 4:], codes[2] = 0, 0
    features = net(codes)
    states = net.encoder(torch.cat([torch.zeros(1, 1, dtype=torch.long), codes[1:2, :4]], dim=1))[0, 1:]
    expected = torch.cat([states[-1], states.max(dim=0).values, states.mean(dim=0)])
    torch.testing.assert_close(features[1], expected)
    assert features.shape == (4, 18) == (4, net.features)
    assert features[2].abs().max() == 0
    torch.testing.assert_close(net(torch.nn.functional.pad(codes, (0, 5))), features)
    with torch.no_grad():  # part by part
        torch.testing.assert_close(net(codes.repeat(50, 1)), features.repeat(50, 1))


def test_probabilities_are_those_of_the_softmax_by_the_embedding_itself():
    net, codes = NextToken(_SIZES, NONE).eval(), _codes(3, 8)
    codes[2, 5:] = -1
    with torch.no_grad():
        nn.init.normal_(net.bias)
        said = net(codes)
        logits = net.encoder(codes[:, :-1].clamp(min=0)) @ net.encoder.embedding.weight.T + net.bias
    there = codes[:, 1:] >= 0
    right = logits.softmax(dim=2).gather(2, codes[:, 1:, None].clamp(min=0))[:, :, 0]
    torch.testing.assert_close(said[:, 0][there], right[there])
    assert torch.equal(said[:, 1][there], (logits.argmax(dim=2) == codes[:, 1:])[there].float())
    torch.testing.assert_close(net(codes), said)  # with gradients it is computed at once, without them by parts
    assert net.train()(codes)[:, 1].abs().max() == 0


def test_a_probability_of_nothing_has_a_gradient_that_is_a_number():
    net = NextToken(Sizes(5, 2, 2, 1), NONE)
    with torch.no_grad():
        net.bias[0] = 500.0
    (-net(torch.tensor([[1, 2, 3]]))[:, 0].log()).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_a_classifier_has_a_group_for_each_layer():
    model = classifier(Encoder(_SIZES), OF_CLASSIFIER, 2, hidden=4)
    assert depth(model) == 5
    assert model.eval()(_codes()).shape == (4, 2)


def test_exported_it_reads_texts_of_any_length():
    net = ConcatPooled(Encoder(Sizes(9, 4, 4, 1))).eval()
    codes = torch.tensor([[3, 5, 0], [0, 0, 0]])
    with torch.no_grad():
        program = torch.export.export(net, (codes,))
    torch.testing.assert_close(program.module()(codes), net(codes))


@pytest.mark.parametrize("path", ["stacked", "vmap"])
def test_it_is_trained_one_after_the_other(path: str):
    with pytest.raises(NotStackable):
        build_models(path, NextToken(_SIZES, OF_LANGUAGE_MODEL), 2, _codes(), torch.device("cpu"))
