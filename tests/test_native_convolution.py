"""The native convolutions beyond the table of cases: against the reference, in every layout, at the edges of memory."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digests import kernels
from kinone.kernels import settings
from kinone.kernels.convolution import reference as plain
from kinone.kernels.windows import out_size
from kn1 import convolution as kn1
from kn1 import winograd
from kn1.arithmetic import laid_out, numbers, same_bits
from processes import in_a_process

native: Any = settings.native
reference: Any = plain
if native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)


def whole(rng, shape, dtype):
    """Small whole numbers: every sum of their products is exact, in whatever order."""
    return laid_out(rng, rng.integers(-9, 9, shape).astype(dtype))


@st.composite
def layers(draw):
    """(x's shape, w's, stride, padding, dilation, groups)"""
    groups = draw(st.sampled_from([1, 1, 1, 2, 5, 40]))
    most = 70 if groups < 40 else 2
    inputs, outs = draw(st.integers(1, most)), draw(st.integers(1, most))
    rows = []
    for _ in range(rank := draw(st.integers(1, 3))):
        kernel = draw(st.integers(1, 7 if rank < 3 else 3))
        stride, dilation, before, after = (draw(st.integers(*ends)) for ends in ((1, 3), (1, 3), (0, 4), (0, 4)))
        least = max(1, dilation * (kernel - 1) + 1 - before - after)
        rows.append(
            (draw(st.integers(least, least + (40, 16, 5)[rank - 1])), kernel, stride, (before, after), dilation)
        )
    size, kernel, stride, padding, dilation = (tuple(column) for column in zip(*rows, strict=True))
    batch = draw(st.integers(1, 3))
    return (batch, inputs * groups, *size), (outs * groups, inputs, *kernel), stride, padding, dilation, groups


def is_same(got, expected, layer):
    """Exactly, but where Winograd's algorithm is used: its constants are fractions."""
    x_shape, w_shape, stride, padding, dilation, groups = layer
    out = out_size(x_shape[2:], w_shape[2:], stride, padding, dilation)
    computed = np.dtype("f8" if got.dtype == "f8" else "f4")
    if not winograd.serves(computed, x_shape[2:], w_shape[2:], out, w_shape[:2], stride, dilation, groups):
        return np.array_equal(got, expected.astype(got.dtype))
    error = 2e-5 * np.abs(expected).max() + (got.dtype == "f2") * np.spacing(np.abs(expected).astype("f2")).astype("f8")
    return bool(np.all(np.abs(got - expected) <= error))


@given(layer=layers(), dtype=st.sampled_from(["f2", "f4", "f8"]), seed=st.integers(0, 2**32 - 1))
def test_any_layer_as_the_reference(layer, dtype, seed):
    x_shape, w_shape, *at, groups = layer
    rng = np.random.default_rng(seed)
    x, w, b = (whole(rng, shape, dtype) for shape in (x_shape, w_shape, w_shape[0]))
    wide = [a.astype("f8") for a in (x, w, b)]
    y = native.convolution_forward(x, w, b, *at, groups)
    expected = reference.convolution_forward(*wide, *at, groups)
    assert y.dtype == dtype and is_same(y, expected, layer)
    assert np.moveaxis(y, 1, -1).flags.c_contiguous or dtype == "f2"
    g, c = whole(rng, y.shape, dtype), whole(rng, x_shape[1], dtype)
    got = native.convolution_backward_input(g, w, c, x_shape[2:], *at, groups)
    expected = reference.convolution_backward_input(g.astype("f8"), wide[1], c.astype("f8"), x_shape[2:], *at, groups)
    assert is_same(got, expected, layer)
    got = native.convolution_backward_weight(g, x, w_shape[2:], *at, groups)
    expected = reference.convolution_backward_weight(g.astype("f8"), wide[0], w_shape[2:], *at, groups)
    assert is_same(got, expected, layer) and got.flags.c_contiguous


@given(layer=layers(), dtype=st.sampled_from(["f2", "f4", "f8"]), seed=st.integers(0, 2**32 - 1))
def test_columns_as_the_reference(layer, dtype, seed):
    x_shape, w_shape, *at, _ = layer
    rng = np.random.default_rng(seed)
    x = whole(rng, x_shape, dtype)[:, :3]
    columns = native.unfold(x, w_shape[2:], *at)
    assert same_bits(columns, reference.unfold(x, w_shape[2:], *at))
    assert same_bits(native.fold(columns, x_shape[2:], *at), reference.fold(columns, x_shape[2:], *at))


def test_what_one_sample_gives_depends_on_no_other():
    rng = np.random.default_rng(1)
    for channels, outs, n, groups, stride in ((3, 64, 33, 1, 2), (64, 64, 9, 1, 2), (20, 20, 15, 20, 2),
                                              (16, 8, 1, 1, 2), (50, 70, 12, 1, 1), (16, 16, 30, 1, 1)):  # fmt: skip
        x = rng.standard_normal((9, channels, n, n), np.float32)
        w = rng.standard_normal((outs, channels // groups, 3, 3), np.float32)
        at = ((stride,) * 2, ((1, 1), (1, 1)), (1, 1), groups)
        y = kernels.convolution_forward(x, w, None, *at)
        x_back = kernels.convolution_backward_input(y, w, None, (n, n), *at)
        for i in range(9):
            assert same_bits(kernels.convolution_forward(x[i : i + 1], w, None, *at), y[i : i + 1])
            assert same_bits(kernels.convolution_backward_input(y[i : i + 1], w, None, (n, n), *at), x_back[i : i + 1])


def test_the_layout_in_memory_changes_no_bit():
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((3, 20, 12, 13), np.float32), rng.standard_normal((24, 20, 3, 3), np.float32)
    at = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    y = native.convolution_forward(x, w, None, *at)
    back = native.convolution_backward_weight(y, x, (3, 3), *at)
    for _ in range(20):
        assert same_bits(native.convolution_forward(laid_out(rng, x), laid_out(rng, w), None, *at), y)
        assert same_bits(native.convolution_backward_weight(laid_out(rng, y), laid_out(rng, x), (3, 3), *at), back)


def check_layer(x_shape, w_shape, padding):
    rng = np.random.default_rng(5)
    at = ((1, 1), padding, (1, 1), 1)
    x, w = rng.standard_normal(x_shape, np.float32), rng.standard_normal(w_shape, np.float32)
    y = kn1.forward(x, w, None, *at)
    assert same_bits(native.convolution_forward(x, w, None, *at), y)
    expected = kn1.backward_input(y, w, None, x_shape[2:], *at)
    assert same_bits(native.convolution_backward_input(y, w, None, x_shape[2:], *at), expected)
    expected = kn1.backward_weight(y, x, (3, 3), *at)
    assert same_bits(native.convolution_backward_weight(y, x, (3, 3), *at), expected)


def test_winograds_chunks_and_pieces():
    """More channels than a chunk, few tiles and many, more of them than are transformed at a time."""
    for shapes in (((1, 300, 4, 9), (130, 300, 3, 3)), ((2, 140, 21, 25), (33, 140, 3, 3)),
                   ((1, 16, 130, 125), (40, 16, 3, 3)), ((3, 20, 16, 19), (260, 20, 3, 3))):  # fmt: skip
        check_layer(*shapes, ((1, 1), (1, 1)))
    for padding in (((0, 2), (3, 0)), ((5, 0), (1, 4))):
        check_layer((2, 17, 7, 6), (18, 17, 3, 3), padding)


@pytest.mark.parametrize(("channels", "size"), [(64, 28), (256, 14), (512, 7)])
def test_winograds_error_is_small(channels, size):
    """At most 2·10⁻⁵ of the largest number, and on average no more than a few times the direct convolution's."""
    rng = np.random.default_rng(6)
    x = np.maximum(rng.standard_normal((2, channels, size, size), np.float32), 0)
    w = rng.standard_normal((32, channels, 3, 3), np.float32) * np.float32(np.sqrt(2 / 9 / channels))
    at = ((1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    exact = reference.convolution_forward(x.astype("f8"), w.astype("f8"), None, *at)
    g = rng.standard_normal(exact.shape, np.float32)
    back = reference.convolution_backward_input(g.astype("f8"), w.astype("f8"), None, x.shape[2:], *at)
    weight = reference.convolution_backward_weight(g.astype("f8"), x.astype("f8"), (3, 3), *at)
    for got, expected in ((native.convolution_forward(x, w, None, *at), exact),
                          (native.convolution_backward_input(g, w, None, x.shape[2:], *at), back),
                          (native.convolution_backward_weight(g, x, (3, 3), *at), weight)):  # fmt: skip
        error = np.abs(got - expected)
        assert error.max() <= 5e-6 * np.abs(expected).max()
        assert error.mean() <= 2e-6 * np.abs(expected).mean()


def test_a_nan_reaches_its_tiles_and_no_other():
    x, w = np.ones((2, 16, 12, 12), np.float32), np.ones((16, 16, 3, 3), np.float32)
    x[1, 3, 6, 6] = np.nan  # seen by the tile in the middle, whose windows end at 8
    y = native.convolution_forward(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    expected = np.zeros((2, 16, 12, 12), bool)
    expected[1, :, 4:8, 4:8] = True
    assert np.array_equal(np.isnan(y), expected)


def test_bias_then_residual_then_relu():
    rng = np.random.default_rng(3)
    for groups, w_shape in ((1, (50, 20, 3, 3)), (20, (20, 1, 3, 3))):
        x, w = numbers(rng, (2, 20, 9, 9), np.float32), numbers(rng, w_shape, np.float32)
        at = ((1, 1), ((1, 1), (1, 1)), (1, 1), groups)
        plain = native.convolution_forward(x, w, None, *at)
        b, residual = numbers(rng, w_shape[0], np.float32), laid_out(rng, numbers(rng, plain.shape, np.float32))
        with np.errstate(all="ignore"):
            expected = np.maximum((plain + b[:, None, None]) + residual, 0)
        y = native.convolution_forward(x, w, b, *at, residual=residual, activation="relu")
        assert np.array_equal(y, expected, equal_nan=True)
        assert not np.signbit(y[y == 0]).any()


def test_what_is_odd_is_the_references():
    x, w = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 2, 2), np.float32)
    at: Any = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    assert native.convolution_forward(x, w.astype("f8"), None, *at) is NotImplemented
    assert native.convolution_forward(x.astype(int), w.astype(int), None, *at) is NotImplemented
    assert native.convolution_forward(x, w, np.ones(3), *at) is NotImplemented
    assert native.convolution_forward(x, w, None, *at, activation="gelu") is NotImplemented
    assert kernels.convolution_forward(x, w.astype("f8"), None, *at).dtype == np.float32
    empty = kernels.convolution_forward(x[:0], w, None, *at)
    assert empty.shape == (0, 3, 3, 3) and empty.dtype == np.float32
    assert not kernels.convolution_backward_weight(empty, x[:0], (2, 2), *at).any()


def test_a_network_of_every_kind_of_layer_learns_as_on_the_reference():
    code = """
import numpy as np, kinone as kn
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 3, 16, 16), np.float32)
ws = [kn.Tensor(0.1 * rng.standard_normal(s).astype(np.float32), requires_grad=True)
      for s in ((16, 3, 3, 3), (16, 1, 5, 5), (24, 8, 1, 1), (24, 6, 2, 2))]
y = kn.conv2d(x, ws[0], stride=2, padding=1)
y = kn.conv2d(kn.relu(y), ws[1], padding=2, groups=16)
y = kn.conv2d(kn.relu(y), ws[2], groups=2)
y = kn.conv_transpose2d(kn.relu(y), ws[3], stride=2)
gradients = kn.gradients((y * y).sum(), ws)
print(repr([float(y.sum()), *(float((g * g).sum()) for g in gradients)]))
"""
    ran = [in_a_process(code, KINONE_KERNELS=name) for name in ("native", "reference")]
    assert not [r.stderr for r in ran if r.returncode]
    np.testing.assert_allclose(*(eval(r.stdout) for r in ran), rtol=2e-4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs mmap and mprotect")
def test_no_byte_outside_an_array_is_read():
    code = """
import numpy as np
from kinone import kernels
from kinone.kernels.convolution import reference
from processes import at_the_edge

def is_same(got, expected):  # nearly, where Winograd's algorithm is used: its constants are fractions
    return np.abs(got - expected).max() <= (1e-5 * np.abs(expected).max() if min(w[:2]) >= 16 else 0)

rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    for x, w, stride, padding, groups in [
        ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0, 1), ((1, 3, 9, 9), (5, 3, 3, 3), 1, 1, 1),
        ((2, 3, 15, 15), (20, 3, 7, 7), 2, 3, 1), ((1, 37, 5, 4), (50, 37, 1, 1), 1, 0, 1),
        ((1, 40, 6, 5), (33, 40, 3, 3), 2, 1, 1), ((2, 21, 7, 7), (21, 1, 3, 3), 1, 1, 21),
        ((2, 5, 9, 9), (5, 1, 5, 5), 2, 2, 5), ((1, 12, 8, 8), (18, 4, 3, 3), 1, 0, 3),
        ((1, 19, 9, 10), (37, 19, 3, 3), 1, 1, 1), ((3, 33, 17, 21), (16, 33, 3, 3), 1, 0, 1)]:
        at = (stride,) * 2, ((padding,) * 2,) * 2, (1, 1), groups
        for is_end in (False, True):
            for is_last in (False, True):
                def some(*shape):
                    a = rng.integers(-9, 9, shape).astype(dtype)
                    if not is_last or len(shape) < 3:
                        return at_the_edge(a, is_end)
                    return np.moveaxis(at_the_edge(np.moveaxis(a, 1, -1).copy(), is_end), -1, 1)
                a, b, c = some(*x), at_the_edge(some(*w).copy(), is_end), some(w[0])
                y = kernels.convolution_forward(a, b, c, *at)
                assert is_same(y, reference.convolution_forward(a, b, c, *at))
                g = some(*y.shape)
                assert is_same(kernels.convolution_backward_input(g, b, None, x[2:], *at),
                               reference.convolution_backward_input(g, b, None, x[2:], *at))
                assert is_same(kernels.convolution_backward_weight(g, a, w[2:], *at),
                               reference.convolution_backward_weight(g, a, w[2:], *at))
                columns = at_the_edge(kernels.unfold(a, w[2:], *at[:3]), is_end)
                assert np.array_equal(columns, reference.unfold(a, w[2:], *at[:3]))
                assert np.array_equal(kernels.fold(columns, x[2:], *at[:3]), reference.fold(columns, x[2:], *at[:3]))
"""
    ran = in_a_process(code)
    assert ran.returncode == 0, ran.stderr


def test_a_result_that_no_memory_holds_is_a_memory_error():
    x, w, padding = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 1, 1), np.float32), ((2**30, 2**30),) * 2
    with pytest.raises(MemoryError, match="convolution_forward"):
        native.convolution_forward(x, w, None, (1, 1), padding, (1, 1), 1)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "stride", "groups"),
    [
        ((12, 16, 43, 45), (96, 16, 1, 1), 1, 1),
        ((6, 400, 75, 80), (64, 400, 1, 1), 1, 1),
        ((12, 96, 43, 45), (96, 1, 3, 3), 1, 96),
        ((12, 96, 43, 45), (96, 1, 3, 3), 2, 96),
        ((12, 96, 43, 45), (96, 1, 5, 5), 2, 96),
    ],
)
def test_results_that_no_cache_holds_are_those_of_one_image_after_the_other(x_shape, w_shape, stride, groups):
    """They take another way to memory."""
    rng = np.random.default_rng(9)
    size, at = x_shape[2:], ((stride,) * 2, ((w_shape[2] // 2,) * 2,) * 2, (1, 1))
    x, w, b = (rng.standard_normal(shape, "f4") for shape in (x_shape, w_shape, w_shape[:1]))
    y = native.convolution_forward(x, w, b, *at, groups)
    pieces = [native.convolution_forward(x[i : i + 1], w, b, *at, groups) for i in range(len(x))]
    assert same_bits(y, np.concatenate(pieces))
    g = np.array(y)
    x = native.convolution_backward_input(g, w, None, size, *at, groups)
    pieces = [native.convolution_backward_input(g[i : i + 1], w, None, size, *at, groups) for i in range(len(g))]
    assert same_bits(x, np.concatenate(pieces))
