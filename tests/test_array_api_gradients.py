"""Gradients through the Array API namespace, and through einops on top of it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.errors import GraphError, ShapeError

xp: Any = kn.Tensor(0.0).__array_namespace__()
ROOT = Path(__file__).resolve().parent.parent
X64 = np.array([[0.4, -1.3, 0.9], [2.1, 0.2, -0.6]])


# ------------------------------------------------------------------------------ gradients
WRITTEN_HERE: dict[str, Any] = {
    "clip": lambda x: xp.clip(x, xp.zeros_like(x) - 1.0, 1.0),
    "sum": lambda x: xp.sum(x * x, axis=0, dtype=xp.float64),
    "prod": lambda x: xp.prod(x, axis=1),
    "cumulative_sum": lambda x: xp.cumulative_sum(x * x, axis=1, include_initial=True),
    "cumulative_prod": lambda x: xp.cumulative_prod(x, axis=0, include_initial=True),
    "diff": lambda x: xp.diff(x * x, axis=1, n=2),
    "diff-prepend": lambda x: xp.diff(x, axis=0, prepend=x * x),
    "concat": lambda x: xp.concat([x, x * x], axis=None),
    "reshape": lambda x: xp.reshape(x, (3, 2), copy=False),
    "broadcast_arrays": lambda x: xp.broadcast_arrays(x, x[0] * x[1]),
    "trace": lambda x: xp.linalg.trace(xp.matmul(x, xp.matrix_transpose(x))),
    "slogdet": lambda x: xp.linalg.slogdet(xp.matmul(x, x.mT))[1],
    "cholesky": lambda x: xp.linalg.cholesky(xp.matmul(x, x.mT), upper=True),
    "std": lambda x: xp.std(x, axis=0) * xp.astype(x, xp.float64)[0],
}


@pytest.mark.parametrize("name", WRITTEN_HERE)
def test_gradients_flow_through_what_is_written_here(name: str) -> None:
    kn.gradcheck(WRITTEN_HERE[name], X64)
    kn.gradgradcheck(WRITTEN_HERE[name], X64)


# ------------------------------------------------------------------------------ einops
PATTERNS = [
    ("rearrange", "b (h w) c -> b c h w", {"h": 2}),
    ("rearrange", "b n c -> (b n) c", {}),
    ("rearrange", "b (h2 h) (c2 c) -> (h2 c2) b h c", {"h2": 2, "c2": 3}),
    ("reduce", "b n c -> b c", {"reduction": "mean"}),
    ("reduce", "b (h h2) c -> b h c", {"h2": 2, "reduction": "max"}),
    ("reduce", "b n c -> ", {"reduction": "sum"}),
    ("reduce", "b n c -> n", {"reduction": "prod"}),
    ("reduce", "b n c -> b 1 c", {"reduction": "min"}),
    ("repeat", "b n c -> b (n k) c", {"k": 3}),
    ("repeat", "b n c -> b n k c", {"k": 2}),
]


def _backend_of_the_guide() -> Any:
    """`einops`, once docs/guides/einops_backend.py has told it of Tensors."""
    einops = pytest.importorskip("einops", reason="einops is not installed here")
    if "einops_backend" not in sys.modules:  # einops keeps the class for good
        spec = importlib.util.spec_from_file_location("einops_backend", ROOT / "docs/guides/einops_backend.py")
        assert spec is not None and spec.loader is not None
        sys.modules["einops_backend"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return einops


@pytest.mark.parametrize("flavour", ["array_api", "backend"])
@pytest.mark.parametrize(("function", "pattern", "options"), PATTERNS)
def test_einops_agrees_with_numpy_and_gradients_flow(
    function: str, pattern: str, options: dict[str, Any], flavour: str
) -> None:
    einops = _backend_of_the_guide()
    from einops import array_api

    # All different, so that no maximum is tied.
    x = np.random.default_rng(0).permutation(24).reshape(2, 4, 3) * 0.1 + 0.05
    ours = getattr(array_api if flavour == "array_api" else einops, function)
    got = ours(kn.Tensor(x), pattern, **options)
    np.testing.assert_allclose(got.data, getattr(einops, function)(x, pattern, **options), rtol=1e-12)
    kn.gradcheck(lambda t: ours(t, pattern, **options), x)


def test_the_guides_backend_does_the_rest_of_einops() -> None:
    einops = _backend_of_the_guide()
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    got = einops.einsum(kn.Tensor(x), kn.Tensor(x), "b h w, b k w -> b h k")
    np.testing.assert_allclose(got.data, np.einsum("bhw,bkw->bhk", x, x), rtol=1e-12)
    assert einops.rearrange([kn.Tensor(x[0]), kn.Tensor(x[1])], "b h w -> h (b w)").shape == (3, 8)
    packed, shapes = einops.pack([kn.Tensor(x), kn.Tensor(x[0])], "* w")
    assert packed.shape == (9, 4) and [t.shape for t in einops.unpack(packed, shapes, "* w")] == [(2, 3, 4), (3, 4)]


def test_einops_packs_and_unpacks() -> None:
    pytest.importorskip("einops", reason="einops is not installed here")
    from einops import array_api

    x, y = kn.Tensor(X64, requires_grad=True), kn.Tensor(X64[0], requires_grad=True)
    packed, shapes = array_api.pack([x, y], "* c")
    assert packed.shape == (3, 3)
    back = array_api.unpack(packed, shapes, "* c")
    ((back[0] * back[0]).sum() + back[1].sum()).backward()
    assert x.grad is not None and y.grad is not None
    np.testing.assert_array_equal(x.grad.data, 2 * X64)
    np.testing.assert_array_equal(y.grad.data, np.ones(3))


def test_the_graph_is_not_lost_without_a_word() -> None:
    x = kn.Tensor(X64, requires_grad=True)
    with pytest.raises(GraphError):
        np.from_dlpack(x)
    with pytest.raises(ShapeError):
        xp.broadcast_to(x, (5, 5))
