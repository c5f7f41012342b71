"""Products of matrices in kn1: chains of fused multiply-adds over k, in chunks of 384."""

import numpy as np

from kn1.arithmetic import FMA, laid_out, numbers, one_nan

CHUNK = 384  # of the profile


def product(a, b, bias=None, chunk=CHUNK):
    """a·b as the profile has it, for matrices (…, m, k) and (…, k, n)."""
    fma = FMA[a.dtype]
    shape = np.matmul(np.zeros((*a.shape[:-1], 1)), np.zeros((*b.shape[:-2], 1, b.shape[-1]))).shape
    y = np.zeros(shape, a.dtype)
    with np.errstate(all="ignore"):
        for begin in range(0, a.shape[-1], chunk):
            s = np.zeros(shape, a.dtype)
            for p in range(begin, min(begin + chunk, a.shape[-1])):
                s = fma(*np.broadcast_arrays(a[..., :, p : p + 1], b[..., p : p + 1, :], s))
            y = y + s if begin else s
        if bias is not None:
            y = y + bias
    return one_nan(y)


def linear(x, w, b):
    return product(x.reshape(-1, w.shape[1]), w.T, b).reshape(*x.shape[:-1], w.shape[0])


KERNELS = {"matmul": product, "linear": linear}


def case(rng, dtype, most):
    m, n, k = (round(most ** rng.random()) for _ in range(3))
    m, n = (int(rng.choice([size, rng.integers(1, 60)], p=[0.8, 0.2])) for size in (m, n))
    batch = [(), (), (), (2,), (2, 1), (1, 3)][rng.integers(6)]
    other = [(), (), batch, (1,) * len(batch)][rng.integers(4)]
    arrays = (numbers(rng, shape, dtype) for shape in ((*batch, m, k), (*other, k, n)))
    return "matmul", tuple(laid_out(rng, x) for x in arrays), {}


def digest_calls():
    """Products of every path: small and large, few rows, few columns, batches, transposes, bias."""
    rng = np.random.default_rng(11)
    shapes = [(3, 5, 7), (64, 64, 64), (257, 511, 130), (1, 900, 3000), (2000, 700, 3), (65, 2000, 66), (50, 400, 5000),
              (300, 1, 300), (9, 40, 3200), (128, 385, 3100)]  # fmt: skip
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        for m, k, n in shapes:
            a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
            yield f"{m}x{k}x{n} {kind}", "matmul", (a, b), {}
            yield f"{m}x{k}x{n} {kind} by columns", "matmul", (np.asfortranarray(a), np.asfortranarray(b)), {}
        x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((40, 100, 90), (310, 90), (310,)))
        yield f"with bias {kind}", "linear", (x, w, b), {}
        yield f"batch {kind}", "matmul", (x, x.swapaxes(-1, -2)), {}
