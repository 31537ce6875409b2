"""Matrix products give a row the same bits wherever it lies; and what is settled before PyTorch is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lab.training.arithmetic import SETTING, branch_in_force, describe_setting, inherited
from tests.small import environment, lab

DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
SIZES = st.sampled_from([1, 2, 3, 5, 8, 13, 16, 32, 64, 128])


@pytest.fixture(params=[1, 2, 3, 8])
def _threads(request: pytest.FixtureRequest) -> object:
    """As many as there are cores, and more."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def _rows(shape: tuple[int, int, int], spare: int, offset: int, turned: bool, dtype: torch.dtype) -> torch.Tensor:
    """Matrices [k, m, n], each in a flat row with other numbers around it: any alignment, either order."""
    k, m, n = shape
    flat = torch.randn(k, m * n + spare).to(dtype)[:, min(offset, spare) :][:, : m * n]
    return flat.view(k, n, m).transpose(1, 2) if turned else flat.view(k, m, n)


@pytest.mark.usefixtures("_threads")
@settings(max_examples=120)
@given(st.data())
def test_a_product_has_the_same_bits_in_every_row_of_a_stack(data: st.DataObject):
    k, row, dtype = data.draw(st.integers(2, 16)), 0, data.draw(DTYPES)
    m, n, p = (data.draw(SIZES) for _ in range(3))
    offset = st.integers(0, 16)
    a = _rows((k, m, n), data.draw(offset), data.draw(offset), data.draw(st.booleans()), dtype)
    b = _rows((k, n, p), data.draw(offset), data.draw(offset), data.draw(st.booleans()), dtype)
    if data.draw(st.booleans()):
        a *= torch.finfo(dtype).tiny * 8  # products among denormals
    other = data.draw(st.integers(1, k - 1))
    a[other], b[other] = a[row], b[row]
    product = torch.bmm(a, b)
    assert torch.equal(product[row], product[other])
    added = torch.baddbmm(product[:, :1].clone(), a, b)
    assert torch.equal(added[row], added[other])


@pytest.mark.usefixtures("_threads")
@settings(max_examples=40)
@given(st.data())
def test_a_convolution_has_the_same_bits_in_every_group_forward_and_back(data: st.DataObject):
    k, dtype = data.draw(st.integers(2, 6)), data.draw(DTYPES)
    channels, out, size = (data.draw(st.integers(1, 8)) for _ in range(3))
    width, examples = data.draw(st.sampled_from([1, 3, 5])), data.draw(st.integers(1, 9))
    other = data.draw(st.integers(1, k - 1))
    x = torch.randn(examples, k, channels, size, size).to(dtype)
    weight = _rows((k, out, channels * width * width), data.draw(st.integers(0, 5)), 3, False, dtype).clone()
    x[:, other], weight[other] = x[:, 0], weight[0]
    x = x.flatten(1, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = weight.view(k * out, channels, width, width).requires_grad_()
    y = F.conv2d(x, weight, padding=width // 2, groups=k)
    grad = torch.randn(y.shape).to(dtype)
    grad.unflatten(1, (k, out))[:, other] = grad.unflatten(1, (k, out))[:, 0]
    for tensor, dim in ((y, 1), *zip(torch.autograd.grad(y, (x, weight), grad), (1, 0), strict=True)):
        by_slot = tensor.unflatten(dim, (k, -1))
        assert torch.equal(by_slot.select(dim, 0), by_slot.select(dim, other))


def _python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=environment() | env, capture_output=True, text=True, check=False, timeout=120
    )


SHOW = f"import os; from lab.training.arithmetic import branch_in_force as b; print(os.environ['{SETTING}'], b())"
HAS_MKL = pytest.mark.skipif(branch_in_force() is None, reason="this PyTorch has no MKL that can be asked")


@HAS_MKL
@pytest.mark.parametrize(
    ("setting", "printed"),
    [
        ("", "AUTO reproducible\n"),
        ("COMPATIBLE", "COMPATIBLE compatible\n"),
        ("AUTO,STRICT", "AUTO,STRICT reproducible, strict\n"),
    ],
)
def test_products_are_made_reproducible_and_a_users_own_setting_is_kept(setting: str, printed: str):
    done = _python(SHOW, **{SETTING: setting})
    assert (done.stdout, done.stderr) == (printed, "")


@HAS_MKL
def test_torch_imported_before_lab_is_no_matter_until_it_has_computed():
    assert _python(f"import torch; {SHOW}", **{SETTING: ""}).stdout == "AUTO reproducible\n"
    late = _python(f"import torch; torch.ones(9, 9) @ torch.ones(9, 9); {SHOW}", **{SETTING: ""})
    assert late.stdout == "AUTO off\n"
    assert late.stderr.count("PyTorch has computed before lab was imported") == 1
    assert "start Python with MKL_CBWR=AUTO" in late.stderr


def test_processes_elsewhere_compute_as_this_one():
    assert list(inherited()) == [SETTING]


def test_what_mkl_does_not_know_is_named():
    assert describe_setting("AVX2,STRICT") == "AVX2,STRICT"
    assert describe_setting("BRANCH=AVX512") == "BRANCH=AVX512"
    assert "several times slower" in describe_setting("COMPATIBLE")
    for wrong in ("avx2", "AVX3", "AVX2,strict", "OFF"):
        assert f"{wrong!r} is unknown to MKL, which takes AUTO for it; choices: AUTO" in describe_setting(wrong)
    shown = lab("doctor", **{SETTING: "AVX3"}).stdout
    assert "numbers   MKL_CBWR='AVX3' is unknown to MKL" in shown
