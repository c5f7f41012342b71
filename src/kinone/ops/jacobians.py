"""Forward products, Jacobians and Hessians: transforms built from those of the core and from operators."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kinone.core.graph import Leaf
from kinone.core.modes import enable_grad
from kinone.core.tensor import Tensor, as_array, wrap
from kinone.core.transforms import Trace, grad, gradients, vjp
from kinone.core.tree import flatten
from kinone.ops.shape import reshape, stack

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and J·v, the derivative of f along the `tangents`.

    gᵀ·J is linear in g, so its own pull-back at any g is J·v: two walks back make one walk forward.
    """
    trace = Trace("jvp", f, primals, {}, range(len(primals)))
    g = wrap(np.zeros_like(trace.y.data), Leaf())
    with enable_grad():
        pulled = flatten(trace.pull(trace.y, g))[0]
    result = np.zeros_like(trace.y.data)
    for pull, v in zip(pulled, flatten(tuple(tangents))[0], strict=True):
        if pull.node is not None:
            result = result + gradients(pull, g, as_array(v, pull.dtype), retain_graph=True).data
    return trace.y.detach(), wrap(result)


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns ∂y/∂x, of shape y.shape + x.shape, for every y in f's value and x in its argument.

    >>> import kinone as kn
    >>> kn.jacobian(lambda x: x * x)([1.0, 2.0])
    Tensor([[2., 0.],
            [0., 4.]], dtype=float32)
    """

    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        trace = Trace("jacobian", f, args, kwargs, argnums)
        build = flatten(trace.structure)[1]

        def rows_of(y: Tensor) -> Any:
            basis = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
            rows = [flatten(trace.pull(y, e))[0] for e in basis]
            shapes = [y.shape + x.shape for x in trace.inputs]
            if not rows:
                return build(wrap(np.zeros(shape, y.dtype)) for shape in shapes)
            return build(reshape(stack(*(row[i] for row in rows)), shape) for i, shape in enumerate(shapes))

        values, rebuild = flatten(trace.y)
        return rebuild(rows_of(y) for y in values)

    return jacobian_of


def hessian(f: Function, argnums: Argnums = 0) -> Function:
    """The function that returns the second derivatives of a scalar function: the Jacobian of its gradient."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Function, x: Any, v: Any) -> Any:
    """H·v for the Hessian H of the scalar function f at x, without building H.

    >>> import kinone as kn
    >>> kn.hvp(lambda x: (x * x * x).sum(), [1.0, 2.0], [1.0, 0.0])
    Tensor([6., 0.], dtype=float32)
    """
    return vjp(grad(f), x)[1](v)[0]
