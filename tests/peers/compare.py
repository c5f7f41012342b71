"""Values and gradients of Kinone beside PyTorch's, on the same arrays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kinone as kn

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}


def compare(
    kn_fn: Callable[..., Any],
    torch_fn: Callable[..., Any],
    *arrays: Any,
    dtypes: tuple[Any, ...] = (np.float64, np.float32),
    tolerance: float | None = None,
    **attrs: Any,
) -> None:
    """kn_fn(*arrays, **attrs) and torch_fn(*arrays, **attrs): outputs, and gradients of every floating array.

    Differences are relative to the norm of PyTorch's answer. Several outputs come as tuples; all floating ones are
    weighted into the number that is differentiated. What is not an array is passed on as it is.
    """
    for dtype in dtypes:
        limit = TOLERANCE[dtype] if tolerance is None else tolerance
        ours = [_leaf(a, dtype, lambda a: kn.Tensor(a, requires_grad=True), kn.Tensor) for a in arrays]
        theirs = [_leaf(a, dtype, lambda a: torch.tensor(a, requires_grad=True), torch.tensor) for a in arrays]
        ys, ts = _parts(kn_fn(*ours, **attrs)), _parts(torch_fn(*theirs, **attrs))
        assert len(ys) == len(ts)
        for i, (y, t) in enumerate(zip(ys, ts, strict=True)):
            near(y.numpy(), t.detach().numpy(), limit, f"output {i} in {np.dtype(dtype)}")
        if not any(y.requires_grad for y in ys):
            continue
        for y, t, weights in [(y, t, _weights(y)) for y, t in zip(ys, ts, strict=True) if y.requires_grad]:
            y.backward(weights, retain_graph=True)
            t.backward(torch.tensor(weights), retain_graph=True)
        for i, (x, t) in enumerate(zip(ours, theirs, strict=True)):
            if isinstance(x, kn.Tensor) and x.requires_grad and t.grad is not None:
                assert x.grad is not None, f"no gradient of input {i}"
                near(x.grad.numpy(), t.grad.numpy(), limit, f"gradient of input {i} in {np.dtype(dtype)}")


def near(a: Any, b: Any, limit: float, what: str) -> None:
    """‖a − b‖ ≤ limit · ‖b‖ over the elements where b is finite; the others agree exactly.

    Where ‖b‖ is a sum of numbers around 1 that cancel, what remains is their rounding: it counts as 0.1.
    """
    assert a.shape == b.shape, f"{what}: shape {a.shape}, PyTorch's {b.shape}"
    assert a.dtype == b.dtype, f"{what}: {a.dtype}, PyTorch's {b.dtype}"
    if b.dtype.kind != "f":
        np.testing.assert_array_equal(a, b, err_msg=what)
        return
    finite = np.isfinite(b)
    np.testing.assert_array_equal(a[~finite], b[~finite], err_msg=what)
    distance = np.linalg.norm((a[finite] - b[finite]).astype(np.float64))
    size = np.linalg.norm(b[finite].astype(np.float64))
    assert distance <= limit * max(size, 0.1), f"{what}: {distance:.3g} away from an answer of norm {size:.3g}"


def _leaf(a: Any, dtype: Any, variable: Callable[..., Any], constant: Callable[..., Any]) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    return variable(a.astype(dtype)) if a.dtype.kind == "f" else constant(a)


def _parts(y: Any) -> tuple[Any, ...]:
    return tuple(y) if isinstance(y, tuple | list) else (y,)


def _weights(y: kn.Tensor) -> Any:
    return np.linspace(0.5, 1.5, y.size, dtype=y.dtype).reshape(y.shape)
