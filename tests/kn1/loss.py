"""Losses in kn1: of classes, of labels, of sequences."""

import numpy as np

from kn1 import functions
from kn1.arithmetic import laid_out, lane_sum, numbers, one_nan
from kn1.softmax import exponentials, largest, ln

DOUBLE = np.dtype(np.float64)


def _exp(x):
    return functions.exp(x, DOUBLE)


# ------------------------------------------------------------------ classes
def _rows(x, target, axis):
    x = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    return x, np.asarray(target, np.int64)[..., None]


def softmax_nll_forward(x, target, axis):
    with np.errstate(all="ignore"):
        x, target = _rows(x, target, axis)
        m = largest(x)
        log_sum = ln(exponentials(x, m)[1]).astype(x.dtype)
        return one_nan((log_sum - (np.take_along_axis(x, target, -1) - m))[..., 0])


def softmax_nll_backward(g, x, target, axis):
    with np.errstate(all="ignore"):
        x, target = _rows(x, target, axis)
        e, s = exponentials(x, largest(x))
        p = e * (1 / s).astype(x.dtype)
        np.put_along_axis(p, target, np.take_along_axis(p, target, -1) - 1, -1)
        return one_nan(np.moveaxis(p * g[..., None], -1, axis))


# ------------------------------------------------------------------ labels
def sigmoid_nll_forward(x, target, weight):
    with np.errstate(all="ignore"):
        wide, t, w = (np.asarray(a, x.dtype).astype(DOUBLE) for a in (x, target, weight))
        rest = functions.log1p(_exp(-np.abs(wide)), DOUBLE)
        up, down = np.where(wide < 0, 0, wide) + rest, np.where(-wide < 0, 0, -wide) + rest
        return one_nan(((w * t) * down + (1 - t) * up).astype(x.dtype))


def sigmoid_nll_backward(g, x, target, weight):
    with np.errstate(all="ignore"):
        g, wide, t, w = (np.asarray(a, x.dtype).astype(DOUBLE) for a in (g, x, target, weight))
        u = _exp(-np.abs(wide))
        s = 1 / (1 + u)
        up, down = np.where(wide < 0, u * s, s), np.where(wide < 0, s, u * s)
        return one_nan((g * ((1 - t) * up - (w * t) * down)).astype(x.dtype))


# ------------------------------------------------------------------ sequences
def _logsum(came):
    m = came[0]
    for a in came[1:]:
        m = np.where(m > a, m, a)
    m = np.where(m == -np.inf, 0, m)
    total = _exp(came[0] - m) + _exp(came[1] - m)
    return m + ln(total + _exp(came[2] - m))


def _came(alpha, skips):
    one, two = np.full((2, *alpha.shape), -np.inf)
    one[:, 1:], two[:, 2:] = alpha[:, :-1], np.where(skips[:, 2:], alpha[:, :-2], -np.inf)
    return [alpha, one, two]


def _alphas(x, labels, skips, lengths):
    emissions = np.take_along_axis(x.astype(DOUBLE), np.broadcast_to(labels, (len(x), *labels.shape)), 2)
    alphas = np.full_like(emissions, -np.inf)
    alphas[0, :, :2] = emissions[0, :, :2]
    for t in range(1, len(x)):
        moved = _logsum(_came(alphas[t - 1], skips)) + emissions[t]
        alphas[t] = np.where((t < lengths)[:, None], moved, alphas[t - 1])
    return alphas


def _total(last, ends):
    last = np.where(ends, last, -np.inf)
    m = np.fmax.reduce(last, 1, keepdims=True, initial=-np.inf)
    m = np.where(m == -np.inf, 0, m)
    return last, m + ln(lane_sum(_exp(last - m), 1, True))


def ctc_forward(x, labels, skips, ends, lengths):
    with np.errstate(all="ignore"):
        _, total = _total(_alphas(x, labels, skips, lengths)[-1], ends)
        return one_nan((-total[:, 0]).astype(x.dtype))


def ctc_backward(g, x, labels, skips, ends, lengths):
    with np.errstate(all="ignore"):
        alphas = _alphas(x, labels, skips, lengths)
        last, total = _total(alphas[-1], ends)
        w = -g.astype(DOUBLE)[:, None] * _exp(last - np.where(total == -np.inf, 0, total))
        gx = np.zeros(x.shape)
        for t in range(len(x) - 1, -1, -1):
            is_active = (t < lengths)[:, None]
            np.add.at(gx[t], (np.arange(len(labels))[:, None], labels), np.where(is_active, w, 0))
            if t:
                came = _came(alphas[t - 1], skips)
                total = _logsum(came)
                parts = np.zeros((3, w.shape[0], w.shape[1] + 2))
                for k in range(3):
                    parts[k, :, : w.shape[1]] = w * _exp(came[k] - np.where(total == -np.inf, 0, total))
                n = w.shape[1]
                w = np.where(is_active, (parts[0, :, :n] + parts[1, :, 1 : n + 1]) + parts[2, :, 2 : n + 2], w)
        return one_nan(gx.astype(x.dtype))


KERNELS = {f.__name__: f for f in (softmax_nll_forward, softmax_nll_backward, sigmoid_nll_forward,
                                   sigmoid_nll_backward, ctc_forward, ctc_backward)}  # fmt: skip


def _states(rng, n, s, steps, classes):
    """As kinone.ops.ctc makes them of random targets."""
    targets, target_lengths = rng.integers(1, classes, (n, s)), rng.integers(0, s + 1, n)
    labels = np.zeros((n, 2 * s + 1), np.int64)
    labels[:, 1::2] = np.where(np.arange(s) < target_lengths[:, None], targets, 0)
    skips = np.zeros(labels.shape, bool)
    skips[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    last, state = 2 * target_lengths[:, None], np.arange(2 * s + 1)
    return labels, skips, (state == last) | (state == last - 1), rng.integers(1, steps + 1, n)


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS), p=[0.23, 0.23, 0.23, 0.23, 0.04, 0.04]))  # the last two take long

    def size():
        return int(rng.integers(1, most + 1))

    if name.startswith("ctc"):
        steps, n, classes = 1 + size() // 2, size(), size() + 1
        x, g = numbers(rng, (steps, n, classes), dtype), numbers(rng, (n,), dtype)
        states = (laid_out(rng, a) for a in _states(rng, n, int(rng.integers(most)), steps, classes))
        return name, ((laid_out(rng, g),) * (name == "ctc_backward") + (laid_out(rng, x), *states)), {}
    shape = [size() for _ in range(rng.integers(1, 4))]
    g, x = numbers(rng, shape, dtype), laid_out(rng, numbers(rng, shape, dtype))
    if name.startswith("sigmoid"):
        target = laid_out(rng, rng.choice([rng.integers(0, 2, shape), rng.random(shape)]).astype(dtype))
        weight = [1.0, laid_out(rng, numbers(rng, shape[-1:], dtype)), numbers(rng, shape, dtype)][rng.integers(3)]
        return name, ((laid_out(rng, g),) * name.endswith("backward") + (x, target, weight)), {}
    axis = int(rng.integers(len(shape)))
    rest = [n for i, n in enumerate(shape) if i != axis]
    target = laid_out(rng, rng.integers(0, shape[axis], rest).astype(rng.choice([np.int64, np.int32, np.uint8])))
    g = laid_out(rng, numbers(rng, rest, dtype))
    return name, ((g,) * name.endswith("backward") + (x, target, axis)), {}


def digest_calls():
    rng = np.random.default_rng(22)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for shape, axis in (((300, 1000), 1), ((2, 21, 30, 17), 1), ((5000, 10), 1)):
            rest = [n for i, n in enumerate(shape) if i != axis]
            x, g = rng.standard_normal(shape).astype(dtype) * 3, rng.standard_normal(rest).astype(dtype)
            target = rng.integers(0, shape[axis], rest)
            yield f"{shape} {kind}", "softmax_nll_forward", (x, target, axis), {}
            yield f"{shape} {kind}", "softmax_nll_backward", (g, x, target, axis), {}
        for shape in ((64, 14), (3, 20_001)):
            g, x = (rng.standard_normal(shape).astype(dtype) * 4 for _ in range(2))
            target, weight = rng.integers(0, 2, shape).astype(dtype), rng.random(shape[-1]).astype(dtype) * 5
            yield f"{shape} {kind}", "sigmoid_nll_forward", (x, target, 1.0), {}
            yield f"{shape} weighted {kind}", "sigmoid_nll_forward", (x, target, weight), {}
            yield f"{shape} weighted {kind}", "sigmoid_nll_backward", (g, x, target, weight), {}
        x, g = rng.standard_normal((60, 9, 30)).astype(dtype), rng.standard_normal(9).astype(dtype)
        states = _states(rng, 9, 20, 60, 30)
        yield kind, "ctc_forward", (x, *states), {}
        yield kind, "ctc_backward", (g, x, *states), {}
