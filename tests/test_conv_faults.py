"""Faults that convolution and pooling are prone to, each kept out by a test; oracles are loops over every index."""

import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import kinone as kn
import window_oracles as by_hand
from kinone.errors import ArgumentError, KinoneError, ShapeError


def leaf(shape, seed=0, dtype=np.float64):
    return kn.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), requires_grad=True)


def pulled(y, xs, seed=9):
    """A random cotangent of y, and what it gives each of xs."""
    g = np.random.default_rng(seed).standard_normal(y.shape)
    return g, [t.numpy() for t in kn.gradients(y, xs, g)]


@st.composite
def convolutions(draw):
    n = draw(st.integers(1, 3))
    few = st.integers(1, 3 if n < 3 else 2)
    groups, kernel = draw(few), tuple(draw(few) for _ in range(n))
    x_shape = (draw(st.integers(0, 2)), groups * draw(few), *(draw(st.integers(1, 6 - n)) for _ in range(n)))
    w_shape = (groups * draw(few), x_shape[1] // groups, *kernel)
    attrs = {
        "stride": tuple(draw(few) for _ in range(n)),
        "padding": tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(n)),
        "dilation": tuple(draw(few) for _ in range(n)),
        "groups": groups,
    }
    padded = [m + p + q for m, (p, q) in zip(x_shape[2:], attrs["padding"], strict=True)]
    assume(all(m > d * (k - 1) for m, k, d in zip(padded, kernel, attrs["dilation"], strict=True)))
    return n, x_shape, w_shape, attrs


@given(convolutions())
@example(
    (1, (1, 1, 1), (1, 1, 1), {"stride": (2,), "padding": ((1, 0),), "dilation": (1,), "groups": 1})
)  # sees padding
def test_any_convolution_and_its_gradients(case):
    n, x_shape, w_shape, attrs = case
    x, w, b = leaf(x_shape, 1), leaf(w_shape, 2), leaf(w_shape[:1], 3)
    y = getattr(kn, f"conv{n}d")(x, w, b, **attrs)
    np.testing.assert_allclose(
        y.numpy(), by_hand.conv(x.numpy(), w.numpy(), b.numpy(), **attrs), rtol=1e-12, atol=1e-12
    )
    g, (gx, gw, gb) = pulled(y, [x, w, b])
    want = by_hand.conv_weight_gradient(x.numpy(), g, kernel_size=w_shape[2:], **attrs)
    np.testing.assert_allclose(gw, want, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gb, g.sum(axis=(0, *range(2, n + 2))), rtol=1e-12, atol=1e-12)
    # Linear in x: ⟨g, conv(v)⟩ = ⟨∂L/∂x, v⟩ for every v.
    v = np.random.default_rng(4).standard_normal(x_shape)
    np.testing.assert_allclose((by_hand.conv(v, w.numpy(), **attrs) * g).sum(), (gx * v).sum(), rtol=1e-10, atol=1e-10)


@st.composite
def poolings(draw):
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 2)), *(draw(st.integers(k, k + 4)) for k in kernel))
    return shape, {
        "kernel_size": kernel,
        "stride": draw(st.none() | st.integers(1, 4)),
        "padding": tuple((draw(st.integers(0, k // 2)), draw(st.integers(0, k // 2))) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }


@given(poolings(), st.booleans())
def test_any_pooling(case, count_include_pad):
    shape, attrs = case
    x = np.random.default_rng(0).integers(-2, 3, shape).astype(float)  # with many ties
    for got, want in zip(kn.max_pool(x, **attrs), by_hand.max_pool(x, **attrs), strict=True):
        np.testing.assert_array_equal(got, want)
    want = by_hand.avg_pool(x, count_include_pad=count_include_pad, **attrs)
    np.testing.assert_allclose(
        kn.avg_pool(x, count_include_pad=count_include_pad, **attrs), want, rtol=1e-12, atol=1e-12
    )


def test_the_gradient_of_a_grouped_convolution_honours_the_groups():
    x, w = leaf((2, 6, 5, 5)), leaf((9, 2, 3, 3))
    y = kn.conv2d(x, w, groups=3, padding=1)
    _, (gx, gw) = pulled(y[:, 3:6], [x, w])  # the second group's outputs
    assert not gx[:, :2].any() and gx[:, 2:4].all() and not gx[:, 4:].any()
    assert not gw[:3].any() and gw[3:6].all() and not gw[6:].any()


def test_groups_are_convolutions_side_by_side():
    x, w = leaf((2, 6, 5, 5)).numpy(), leaf((9, 2, 3, 3)).numpy()
    apart = [kn.conv2d(x[:, 2 * i : 2 * i + 2], w[3 * i : 3 * i + 3]) for i in range(3)]
    np.testing.assert_allclose(kn.conv2d(x, w, groups=3), np.concatenate(apart, axis=1), rtol=1e-12)


def test_padding_after_is_not_padding_before():
    x, w = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    np.testing.assert_array_equal(kn.conv1d(x, w, padding=((1, 0),)), [[[10, 21, 32]]])
    np.testing.assert_array_equal(kn.conv1d(x, w, padding=((0, 1),)), [[[21, 32, 3]]])
    np.testing.assert_array_equal(kn.conv1d(x, w, padding="same"), [[[21, 32, 3]]])


@pytest.mark.parametrize(
    "kind", [{"stride": True}, {"stride": (1.0, 1)}, {"padding": ((True, 0), (0, 0))}, {"dilation": 1.0}]
)
def test_what_equals_a_right_number_is_refused_after_it_as_before(kind):
    """True and 1.0 are found where 1 was kept, if nobody looks at their types."""
    x, w = np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 1, 1))
    rights: list[Any] = [{"stride": 1}, {"stride": (1, 1)}, {"padding": ((1, 0), (0, 0))}, {"dilation": 1}]
    for right in rights:
        kn.conv2d(x, w, **right)
    with pytest.raises(ArgumentError, match=f"{next(iter(kind))}"):
        kn.conv2d(x, w, **kind)


def test_a_transposed_convolution_gives_back_each_size_that_the_stride_merged():
    w = leaf((4, 3, 3, 3))
    for size in (7, 8):
        y = kn.conv2d(np.zeros((1, 3, size, size)), w.numpy(), stride=2, padding=1)
        back = kn.conv_transpose2d(y, w.numpy(), stride=2, padding=1, output_padding=(size + 1) % 2)
        assert y.shape == (1, 4, 4, 4) and back.shape == (1, 3, size, size)


def test_padding_never_wins_a_maximum_and_is_counted_on_request():
    x = np.full((1, 1, 2, 2), -5.0)
    np.testing.assert_array_equal(kn.max_pool2d(x, kernel_size=2, padding=1), np.full((1, 1, 2, 2), -5.0))
    np.testing.assert_array_equal(kn.avg_pool2d(x, kernel_size=2, padding=1), np.full((1, 1, 2, 2), -1.25))
    uncounted = kn.avg_pool2d(x, kernel_size=2, padding=1, count_include_pad=False)
    np.testing.assert_array_equal(uncounted, np.full((1, 1, 2, 2), -5.0))


def test_a_window_of_minus_infinity_still_points_into_x():
    y, indices = kn.max_pool2d(np.full((1, 1, 4, 4), -np.inf), kernel_size=3, padding=1, return_indices=True)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -np.inf))
    np.testing.assert_array_equal(indices, [[[[0, 2], [8, 10]]]])


def test_the_first_of_equal_maxima_has_the_gradient():
    x = kn.Tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    assert kn.gradients(kn.max_pool2d(x, kernel_size=2).sum(), x).tolist() == [[[[1, 0, 1, 0], [0, 0, 0, 0]]]]


def test_overlapping_windows_add_up():
    x = kn.Tensor([[[0.0, 5.0, 1.0, 2.0]]], requires_grad=True)
    assert kn.gradients(kn.max_pool1d(x, kernel_size=2, stride=1).sum(), x).tolist() == [[[0, 2, 0, 1]]]


def test_an_infinity_stays_where_it_is():
    """Resizing by a product of matrices would spread it as NaN, 0 · ∞, over its row."""
    x = np.array([[[1.0, np.inf, 2.0, 3.0, 4.0]]])
    assert np.isfinite(kn.interpolate(x, size=10)).sum() == 8
    assert np.isfinite(kn.adaptive_avg_pool1d(x, output_size=3)).tolist() == [[[False, False, True]]]
    assert not np.isnan(kn.adaptive_avg_pool1d(x, output_size=3)).any()


def test_half_precision_adds_in_single():
    x, w = np.full((1, 64, 8, 8), 0.1, np.float16), np.full((1, 64, 8, 8), 0.1, np.float16)
    exact = 4096 * float(np.float16(0.1)) ** 2
    assert abs(float(kn.conv2d(x, w)[0, 0, 0, 0]) - exact) < 0.02
    assert kn.avg_pool2d(np.full((1, 1, 64, 64), 1000, np.float16), kernel_size=64).item() == 1000


@pytest.mark.parametrize("batch", [0, 2])
def test_the_empty_batch_has_gradients(batch):
    x, w = leaf((batch, 2, 6, 6)), leaf((3, 2, 3, 3))
    y = kn.avg_pool2d(kn.max_pool2d(kn.conv2d(x, w, padding=1), kernel_size=2), kernel_size=3)
    _, (gx, gw) = pulled(y, [x, w])
    assert gx.shape == x.shape and gw.any() == (batch > 0)


def test_what_the_graph_keeps():
    """A convolution its x and w; a maximum its indices and not its x; an average nothing."""
    image, w = leaf((2, 3, 8, 8)), leaf((4, 3, 3, 3))
    x = kn.conv2d(image, w, leaf((4,)))
    y = kn.max_pool2d(x, kernel_size=2)
    z = kn.avg_pool2d(y, kernel_size=3)
    assert x.node is not None and z.node is not None
    assert [a is not None for a in x.node.arrays] == [True, True, False]
    assert z.node.arrays == [None] and z.node.y is None
    hidden = weakref.ref(x.data)
    del x
    assert hidden() is None


def test_no_gradient_is_computed_that_nobody_needs(monkeypatch):
    def refuse(*args):
        raise AssertionError("the first layer's image needs no gradient")

    monkeypatch.setattr("kinone.kernels.convolution_backward_input", refuse)
    w = leaf((4, 3, 3, 3))
    y = kn.conv2d(leaf((2, 3, 8, 8)).numpy(), w)
    assert kn.gradients(y.sum(), w).shape == w.shape


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: kn.max_pool2d(x, kernel_size=2), ShapeError, r"^\[max_pool2d\] expected x of shape \(batch, .*Hint"),
        (lambda x: kn.avg_pool1d(x, kernel_size=2, stride=0), ArgumentError, r"stride to be"),
        (
            lambda x: kn.avg_pool3d(x, kernel_size=2),
            ShapeError,
            r"^\[avg_pool3d\] expected .*depth, height, width\), got",
        ),
        (
            lambda x: kn.adaptive_avg_pool1d(x, output_size=0),
            ArgumentError,
            r"^\[adaptive_avg_pool1d\] .*output_size=0",
        ),
        (lambda x: kn.adaptive_max_pool2d(x, output_size=2), ShapeError, r"^\[adaptive_max_pool2d\]"),
        (lambda x: kn.adaptive_max_pool1d(x[:, :, :0], output_size=2), ShapeError, r"at least one element"),
        (lambda x: kn.global_avg_pool(x[0]), ShapeError, r"^\[global_avg_pool\] expected x of shape \(batch"),
        (lambda x: kn.pixel_shuffle(x, upscale_factor=2), ShapeError, r"^\[pixel_shuffle\] expected .*divisible by 4"),
        (lambda x: kn.pixel_unshuffle(x, downscale_factor=2), ShapeError, r"^\[pixel_unshuffle\]"),
    ],
)
def test_the_functions_without_a_node_refuse_too(call, error, match):
    for x in (np.zeros((2, 3, 5)), leaf((2, 3, 5))):
        with pytest.raises(error, match=match) as caught:
            call(x)
        assert isinstance(caught.value, KinoneError)
