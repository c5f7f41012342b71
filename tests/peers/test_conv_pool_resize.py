"""Convolution, pooling and resizing beside PyTorch's: values and gradients over many shapes and attributes."""

import itertools

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
from peers.compare import compare, near  # noqa: E402

F = torch.nn.functional


def arrays(*shapes):
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.standard_normal(shape) for shape in shapes]


def of_rank(n, *sizes):
    return sizes[:n]


CONV = [
    {"stride": s, "padding": p, "dilation": d, "groups": g}
    for s, p, d, g in itertools.product((1, 2, 3), (0, 1, 2), (1, 2), (1, 2, 4))
] + [{"padding": "same"}, {"padding": "same", "dilation": 2, "groups": 2}, {"padding": "valid", "stride": 2}]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("attrs", CONV, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv(n, attrs):
    groups = attrs.get("groups", 1)
    for kernel, outs in ((of_rank(n, 3, 2, 2), 8), (of_rank(n, 1, 3, 1), 4)):
        x, w, b = arrays((2, 4, *of_rank(n, 9, 8, 7)), (outs, 4 // groups, *kernel), (outs,))
        compare(getattr(kn, f"conv{n}d"), getattr(F, f"conv{n}d"), x, w, b, **attrs)
    compare(getattr(kn, f"conv{n}d"), getattr(F, f"conv{n}d"), x, w, **attrs)


@pytest.mark.parametrize("n", [1, 2])
def test_conv_of_asymmetric_padding(n):
    pads = ((2, 1), (0, 3))[:n]
    x, w = arrays((2, 3, *of_rank(n, 6, 5)), (4, 3, *of_rank(n, 3, 2)))
    flat = [p for pair in reversed(pads) for p in pair]
    torch_conv = getattr(F, f"conv{n}d")
    compare(
        lambda x, w: getattr(kn, f"conv{n}d")(x, w, padding=pads, stride=2),
        lambda x, w: torch_conv(F.pad(x, flat), w, stride=2),
        x, w,
    )  # fmt: skip


@pytest.mark.parametrize(("stride", "padding", "extra"), [(1, 0, 0), (2, 1, 1), (3, 2, 2), (3, 0, 1), (2, 0, 0)])
@pytest.mark.parametrize(("dilation", "groups"), [(1, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv_transpose(n, stride, padding, extra, dilation, groups):
    x, w, b = arrays((2, 4, *of_rank(n, 4, 3, 3)), (4, 2, *of_rank(n, 3, 3, 2)), (2 * groups,))
    compare(
        getattr(kn, f"conv_transpose{n}d"), getattr(F, f"conv_transpose{n}d"), x, w, b,
        stride=stride, padding=of_rank(n, padding, padding, 0), output_padding=extra, groups=groups, dilation=dilation,
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 1e-10), (np.float32, 1e-5)])
def test_second_order_of_conv2d(dtype, limit):
    inputs = [a.astype(dtype) for a in arrays((2, 4, 6, 5), (6, 2, 3, 2))]

    def penalty_gradients(conv, xs, gradients):
        y = conv(*xs, stride=2, padding=1, groups=2)
        gx, gw = gradients((y * y * y).sum(), xs, create_graph=True)
        return gradients((gx * gx).sum() + (gw * gw).sum() * 0.1, xs)

    ours = penalty_gradients(kn.conv2d, [kn.Tensor(a, requires_grad=True) for a in inputs], kn.gradients)
    theirs = penalty_gradients(F.conv2d, [torch.tensor(a, requires_grad=True) for a in inputs], torch.autograd.grad)
    for a, b in zip(ours, theirs, strict=True):
        near(a.numpy(), b.numpy(), limit, "second order")


WINDOWS = [
    {"kernel_size": k, "stride": s, "padding": p, "ceil_mode": c}
    for k, s, p, c in itertools.product((2, 3), (None, 1, 2, 3), (0, 1), (False, True))
]


@pytest.mark.parametrize("attrs", WINDOWS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_pools(n, attrs):
    for size in (of_rank(n, 7, 6, 5), of_rank(n, 8, 9, 4)):
        (x,) = arrays((2, 3, *size))
        for dilation in (1, 2):
            ours, theirs = getattr(kn, f"max_pool{n}d"), getattr(F, f"max_pool{n}d")
            both = {**attrs, "dilation": dilation, "return_indices": True}
            if dilation * (attrs["kernel_size"] - 1) < min(size) + 2 * attrs["padding"]:
                compare(ours, theirs, x, **both)
        for count in (True, False):
            compare(getattr(kn, f"avg_pool{n}d"), getattr(F, f"avg_pool{n}d"), x, count_include_pad=count, **attrs)
        if n > 1:
            compare(getattr(kn, f"avg_pool{n}d"), getattr(F, f"avg_pool{n}d"), x, divisor_override=3, **attrs)


def test_max_pool_of_ties_nan_and_infinity():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 3, 7, 8)).astype(float)
    x[0, 0, 2, 3], x[0, 1, 1:4, 1:4], x[0, 2] = np.nan, np.inf, -np.inf
    compare(kn.max_pool2d, F.max_pool2d, x, kernel_size=3, stride=2, padding=1)
    compare(kn.max_pool2d, F.max_pool2d, x[1:], kernel_size=3, stride=2, padding=1, return_indices=True)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("out", [1, 2, 3, 4, 5, 9])
def test_adaptive_pools(n, out):
    (x,) = arrays((2, 3, *of_rank(n, 7, 9, 4)))
    size = of_rank(n, out, out + 1, 3)
    compare(lambda x: getattr(kn, f"adaptive_avg_pool{n}d")(x, output_size=size),
            lambda x: getattr(F, f"adaptive_avg_pool{n}d")(x, size), x)  # fmt: skip
    compare(lambda x: getattr(kn, f"adaptive_max_pool{n}d")(x, output_size=size),
            lambda x: getattr(F, f"adaptive_max_pool{n}d")(x, size), x)  # fmt: skip


def test_global_pools():
    (x,) = arrays((2, 3, 5, 6))
    compare(kn.global_avg_pool, lambda x: F.adaptive_avg_pool2d(x, 1), x)
    compare(kn.global_max_pool, lambda x: F.adaptive_max_pool2d(x, 1), x)


RESIZES = [{"size": 9}, {"size": 3}, {"size": 7}, {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.6}]


@pytest.mark.parametrize("attrs", RESIZES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_interpolate(n, attrs):
    (x,) = arrays((2, 3, *of_rank(n, 7, 5, 6)))
    modes = {1: ["linear"], 2: ["bilinear", "bicubic"], 3: ["trilinear"]}[n]
    for mode in ("nearest", "nearest-exact", "area"):
        compare(kn.interpolate, F.interpolate, x, mode=mode, **attrs)
    for mode, align in itertools.product(modes, (False, True)):
        compare(kn.interpolate, F.interpolate, x, mode=mode, align_corners=align, **attrs)


def test_upsampling_and_pixel_shuffle():
    (x,) = arrays((2, 8, 4, 6))
    compare(kn.upsample_nearest, lambda x, **a: F.interpolate(x, mode="nearest", **a), x, size=(7, 5))
    compare(
        kn.upsample_bilinear, lambda x, **a: F.interpolate(x, mode="bilinear", align_corners=True, **a), x, size=(7, 5)
    )
    compare(lambda x: kn.pixel_shuffle(x, upscale_factor=2), lambda x: F.pixel_shuffle(x, 2), x)
    compare(lambda x: kn.pixel_unshuffle(x, downscale_factor=2), lambda x: F.pixel_unshuffle(x, 2), x)


@pytest.mark.parametrize("attrs", [
    {"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2}, {"kernel_size": 3, "padding": 1},
    {"kernel_size": (2, 3), "dilation": 2, "padding": (1, 2), "stride": (1, 3)}, {"kernel_size": 1},
], ids=str)  # fmt: skip
def test_unfold_and_fold(attrs):
    (x,) = arrays((2, 3, 7, 8))
    compare(kn.unfold, F.unfold, x, **attrs)
    (columns,) = arrays(tuple(F.unfold(torch.tensor(x), **attrs).shape))
    compare(lambda c: kn.fold(c, output_size=(7, 8), **attrs), lambda c: F.fold(c, (7, 8), **attrs), columns)


def test_conv2d_with_what_follows_it():
    def theirs(x, w, b, residual):
        return F.relu(F.conv2d(x, w, b, stride=2, padding=1) + residual)

    def ours(x, w, b, residual):
        return kn.conv2d_activated(x, w, b, residual, stride=2, padding=1)

    rng = np.random.default_rng(8)
    compare(ours, theirs, *(rng.standard_normal(shape) for shape in ((2, 3, 7, 6), (4, 3, 3, 3), (4,), (2, 4, 4, 3))))
