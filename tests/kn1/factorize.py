"""Factors of matrices in kn1: plain Gaussian elimination, every element a chain over the columns in order."""

import numpy as np

from kn1.arithmetic import FMA, laid_out
from kn1.functions import log

fma = FMA[np.dtype(np.float64)]


def _factors(a):
    """L and U in one matrix, the rows' order, and whether that is odd; None for a singular matrix."""
    a, n = a.astype(np.float64), len(a)
    rows, is_odd = np.arange(n), False
    for j in range(n):
        pivot = j + int(np.argmax(np.abs(a[j:, j])))
        if a[pivot, j] == 0:
            return None
        if pivot != j:
            is_odd = not is_odd
            a[[j, pivot]], rows[[j, pivot]] = a[[pivot, j]], rows[[pivot, j]]
        for i in range(j + 1, n):
            ratio = a[i, j] / a[j, j]
            a[i, j + 1 :] = fma(-ratio, a[j, j + 1 :], a[i, j + 1 :])
            a[i, j] = ratio
    return a, rows, is_odd


def _solved(a, b):
    factors, rows, _ = _factors(a)
    n, y = len(a), b.astype(np.float64)[rows]
    for j in range(n):
        for i in range(j + 1, n):
            y[i] = fma(-factors[i, j], y[j], y[i])
    for j in reversed(range(n)):
        y[j] = y[j] / factors[j, j]
        for i in range(j):
            y[i] = fma(-factors[i, j], y[j], y[i])
    return y


def _matrices(x):
    return x.reshape(-1, *x.shape[-2:])


def solve(a, b):
    bs = [b] * len(_matrices(a)) if b.ndim == 1 else _matrices(b)
    y = np.array([_solved(m, v) for m, v in zip(_matrices(a), bs, strict=True)])
    return y.reshape(*a.shape[:-2], *(b.shape if b.ndim == 1 else b.shape[-2:])).astype(a.dtype)


def inv(x):
    y = np.array([_solved(m, np.eye(x.shape[-1])) for m in _matrices(x)])
    return y.reshape(x.shape).astype(x.dtype)


def _each(x, f):
    return np.array([f(_factors(m)) for m in _matrices(x)], np.float64).reshape(x.shape[:-2]).astype(x.dtype)


def det(x):
    def product(found):
        if found is None:
            return 0.0
        y = -1.0 if found[2] else 1.0
        for u in np.diag(found[0]):
            y = y * u
        return y

    return _each(x, product)


def cholesky(x):
    found = []
    for m in _matrices(x):
        a, n = m.astype(np.float64), len(m)
        for j in range(n):
            a[j, j] = np.sqrt(a[j, j])
            for i in range(j + 1, n):
                a[i, j] = a[i, j] / a[j, j]
            for i in range(j + 1, n):
                a[i, j + 1 : i + 1] = fma(-a[i, j], a[j + 1 : i + 1, j], a[i, j + 1 : i + 1])
        found.append(np.tril(a))
    return np.array(found).reshape(x.shape).astype(x.dtype)


def slogdet(x):
    signs, sizes = [], []
    for found in map(_factors, _matrices(x)):
        if found is None:
            signs.append(0.0), sizes.append(-np.inf)
            continue
        diagonal = np.diag(found[0])
        signs.append((-1.0 if found[2] else 1.0) * np.prod(np.sign(diagonal)))
        total = 0.0
        for size in log(np.abs(diagonal), np.float64):
            total = total + size
        sizes.append(total)
    return tuple(np.array(a, np.float64).reshape(x.shape[:-2]).astype(x.dtype) for a in (signs, sizes))


KERNELS = {"inv": inv, "solve": solve, "det": det, "slogdet": slogdet, "cholesky": cholesky}


def case(rng, dtype, most):
    n, batch = int(rng.integers(1, 2 + most // 2)), [(), (), (2,), (2, 1)][rng.integers(4)]
    name = str(rng.choice([*KERNELS]))
    a = rng.standard_normal((*batch, n, n)) * 2.0 ** rng.integers(-20, 20, (*batch, n, 1))
    if name == "cholesky":
        a = a @ a.swapaxes(-1, -2) + np.eye(n) * np.abs(a).max() ** 2 * 1e-3
    args = [laid_out(rng, a.astype(dtype))]
    if name == "solve":
        b = rng.standard_normal((n,) if rng.random() < 0.3 else (*batch, n, int(rng.integers(1, 4))))
        args.append(laid_out(rng, b.astype(dtype)))
    return name, tuple(args), {}


def digest_calls():
    rng = np.random.default_rng(5)
    for dtype in (np.float32, np.float64):
        kind = np.dtype(dtype).name
        a, b = rng.standard_normal((3, 40, 40)).astype(dtype), rng.standard_normal((3, 40, 7)).astype(dtype)
        yield f"3x40x40 {kind}", "inv", (a,), {}
        yield f"3x40x40 {kind}", "solve", (a, b), {}
        yield f"3x40x40 {kind}", "det", (a,), {}
        yield f"3x40x40 {kind}", "slogdet", (a,), {}
        yield f"3x40x40 {kind}", "cholesky", (a @ a.swapaxes(-1, -2),), {}
