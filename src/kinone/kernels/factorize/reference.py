"""Systems of equations and factors of matrices, in plain NumPy: x (…, n, n)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.errors import ArgumentError
from kinone.kernels.precision import widened

__all__ = ["cholesky", "det", "inv", "slogdet", "solve"]

Array = NDArray[Any]


def inv(x: Array) -> Array:
    """y = x⁻¹."""
    return _lapack("inv", "an invertible matrix", "a singular one", np.linalg.inv, x)


def solve(a: Array, b: Array) -> Array:
    """a·y = b, b (n,) or (…, n, k)."""
    return _lapack("solve", "an invertible a", "a singular one", np.linalg.solve, a, b)


def cholesky(x: Array) -> Array:
    """y·yᵀ = x, y lower triangular."""
    return _lapack("cholesky", "a positive definite matrix", "one that is not", np.linalg.cholesky, x)


def det(x: Array) -> Array:
    """y = |x|."""
    return np.asarray(np.linalg.det(widened(x)), np.asarray(x).dtype)


def slogdet(x: Array) -> tuple[Array, Array]:
    """(sign |x|, ln ||x||)."""
    sign, size = np.linalg.slogdet(widened(x))
    return np.asarray(sign, x.dtype), np.asarray(size, x.dtype)


def _lapack(where: str, expected: str, got: str, f: Any, *xs: Array) -> Array:
    try:
        return f(*map(widened, xs)).astype(xs[0].dtype, copy=False)
    except np.linalg.LinAlgError:
        raise ArgumentError(where, expected, got) from None
