"""Functions of functions: gradients and Jacobians of ordinary Python functions over nested structures of tensors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kinone.core.graph import Leaf, Node, propagate
from kinone.core.modes import enable_grad, modes, no_grad
from kinone.core.op import retraced
from kinone.core.tensor import Tensor, as_array, cotangent_for, wrap
from kinone.core.tree import flatten, tree_map
from kinone.errors import ArgumentError, DtypeError, GraphError


def gradients(y: Tensor, xs: Any, g: Any = None, *, create_graph: bool = False, retain_graph: bool | None = None) -> Any:
    """∂y/∂x · g for every tensor in the structure `xs`; nothing is added to any `.grad`.

    Zeros where y does not depend on x. `g` may be left out for a scalar.

    >>> import kinone as kn
    >>> x = kn.Tensor(3.0, requires_grad=True)
    >>> kn.gradients(x * x, [x])
    [Tensor(6., dtype=float32)]
    """
    leaves, build = flatten(xs)
    for x in leaves:
        if not isinstance(x, Tensor) or x.node is None:
            raise GraphError("gradients", "tensors that require gradients", f"{x!r}")
    node, g = cotangent_for("gradients", y, g, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    found = propagate(node, g, create_graph=create_graph, retain_graph=retain, wanted={x.node for x in leaves})
    return build(_as_tensor(found.get(x.node), x) for x in leaves)


def _as_tensor(found: Any, x: Tensor) -> Tensor:
    return found if isinstance(found, Tensor) else wrap(np.zeros_like(x.data) if found is None else found)


def _traced(primals: Any) -> tuple[list[Tensor], Any]:
    """A copy of the structure in which every leaf has a node of its own (so f(x, x) has two gradients)."""
    leaves, build = flatten(primals)
    traced: list[Tensor] = []
    for leaf in leaves:
        x = leaf if isinstance(leaf, Tensor) else wrap(as_array(leaf))
        if x.dtype.kind != "f":
            raise DtypeError("grad", "arguments of a floating dtype", str(x.dtype), hint="write 1.0 instead of 1.")
        with enable_grad():
            traced.append(retraced(x) if x.node is not None and modes.recording else wrap(x.data, Leaf()))
    return traced, build(traced)


def _belongs_to_more(y: Tensor, inputs: list[Tensor]) -> bool:
    """True if y's graph reaches beyond `inputs`, so that somebody outside may differentiate the gradient again."""
    ends = {x.node for x in inputs}
    seen: set[Node | None] = set()
    stack = [y.node, *ends]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            if not node.parents and node not in ends:
                return True
            stack.extend(node.parents)
    return False


def _call(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Any, argnums: int | Sequence[int], where: str) -> Any:
    """Run f with the arguments `argnums` traced; give its value, those arguments, and their structure."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not all(-len(args) <= n < len(args) for n in numbers):
        raise ArgumentError(where, f"argnums within the {len(args)} positional arguments", str(argnums))
    chosen = [args[n] for n in numbers]
    inputs, structure = _traced(chosen[0] if isinstance(argnums, int) else tuple(chosen))
    new = list(args)
    for n, value in zip(numbers, [structure] if isinstance(argnums, int) else structure, strict=True):
        new[n] = value
    with enable_grad():
        return f(*new, **kwargs), inputs, structure


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False) -> Callable[..., Any]:
    """The function that returns f's scalar value and its gradient with respect to the arguments `argnums`.

    With `has_aux`, f returns (value, anything) and the result is ((value, anything), gradient).
    """

    def with_gradient(*args: Any, **kwargs: Any) -> Any:
        y, inputs, structure = _call(f, args, kwargs, argnums, "grad")
        loss = y[0] if has_aux else y
        if not isinstance(loss, Tensor):
            raise GraphError("grad", "a function that returns a Tensor", f"a {type(loss).__name__}")
        if loss.node is None:
            return y, tree_map(lambda x: _as_tensor(None, x), structure)
        create_graph = modes.recording and _belongs_to_more(loss, inputs)
        found = gradients(loss, structure, create_graph=create_graph, retain_graph=create_graph)
        loss = loss if create_graph else loss.detach()
        return ((loss, *y[1:]) if has_aux else loss), found

    return with_gradient


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function; its value can be differentiated again.

    >>> import kinone as kn
    >>> cube = lambda x: x * x * x
    >>> kn.grad(cube)(2.0), kn.grad(kn.grad(cube))(2.0)
    (Tensor(12., dtype=float32), Tensor(12., dtype=float32))
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], Any]]:
    """f(*primals), and the function g ↦ gᵀ·J that pulls a cotangent of the value back to the primals."""
    y, inputs, structure = _call(f, primals, {}, range(len(primals)), "vjp")
    create_graph = modes.recording and _belongs_to_more(y, inputs)
    return y.detach() if not create_graph else y, lambda g: gradients(
        y, structure, g, create_graph=create_graph or (isinstance(g, Tensor) and g.requires_grad), retain_graph=True
    )


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*primals), and J·v: the derivative of f along `tangents`.

    gᵀ·J is linear in g, so its own vjp at any g is J·v: two walks back make one walk forward.
    """
    with enable_grad():
        y, _, structure = _call(f, tuple(primals), {}, range(len(primals)), "jvp")
        g = wrap(np.zeros_like(y.data), Leaf())
        pulled = gradients(y, structure, g, create_graph=True)
    total = None
    for pull, x, v in zip(*(flatten(tree)[0] for tree in (pulled, structure, tuple(tangents))), strict=True):
        v = as_array(v, x.dtype)
        if v.shape != x.shape:
            raise ArgumentError("jvp", f"a tangent of shape {x.shape}", f"{v.shape}")
        if pull.node is not None:
            (part,) = gradients(pull, [g], v, retain_graph=True)
            total = part if total is None else total + part
    return y.detach(), _as_tensor(total, y)


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns ∂y/∂x, of shape y.shape + x.shape, for every y in f's value and x in its argument.

    >>> import kinone as kn
    >>> kn.jacobian(lambda x: x * x)([1.0, 2.0])
    Tensor([[2., 0.],
            [0., 4.]], dtype=float32)
    """

    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        value, inputs, structure = _call(f, args, kwargs, argnums, "jacobian")
        leaves, build = flatten(structure)
        return tree_map(lambda y: build(_rows(y, leaves, inputs)), value)

    return jacobian_of


def _rows(y: Tensor, xs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    if y.node is None or not y.size:
        return [wrap(np.zeros(y.shape + x.shape, x.dtype)) for x in xs]
    create_graph = modes.recording and _belongs_to_more(y, inputs)
    basis = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
    rows = [gradients(y, xs, e, create_graph=create_graph, retain_graph=True) for e in basis]
    return [column[0].stack(*column[1:]).reshape(y.shape + x.shape) for x, column in zip(xs, zip(*rows), strict=True)]


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns the second derivatives of a scalar function: the Jacobian of its gradient."""
    return jacobian(grad(f, argnums), argnums)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """H·v for the Hessian H of the scalar function f at x, without building H.

    >>> import kinone as kn
    >>> kn.hvp(lambda x: (x * x * x).sum(), [1.0, 2.0], [1.0, 0.0])
    Tensor([6., 0.], dtype=float32)
    """
    return vjp(grad(f), x)[1](v)[0]
