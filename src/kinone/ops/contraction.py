"""Sums of products over labelled axes: einsum, and what is short for one."""

from collections import Counter
from functools import partial
from string import ascii_letters
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.op import Array, op
from kinone.errors import AxisError, ShapeError
from kinone.ops.arguments import composed, one_axis, shape_of
from kinone.ops.declare import Bad, Onnx, Sample, normal
from kinone.ops.linalg import matmul

Shape = tuple[int, ...]

_FRESH = 0x4E00  # labels of our own begin here, beyond any that a caller would type


def _equation(subscripts: str, xs_shape: tuple[Shape, ...]) -> str:
    """The subscripts in plain letters; ellipses, which in ONNX stand for as many axes everywhere, else written out."""
    terms, out = _parsed(subscripts, xs_shape)
    hidden = {"".join(x for x in term if ord(x) >= _FRESH) for term in terms}
    equation = subscripts if len(hidden) == 1 and subscripts.isascii() else f"{','.join(terms)}->{out}"
    labels = sorted({*equation} - {*",->"})
    free = (x for x in ascii_letters if x not in labels)
    return equation.translate({ord(x): next(free) for x in labels if not x.isascii()})


@op(onnx=Onnx("Einsum", attributes={"equation": _equation}), numpy=(np.einsum,), dtypes="number",
    samples=[Sample("ij,jk->ik", normal(2, 3), normal(3, 2)), Sample("ij,jk", normal(2, 3), normal(3, 2)),
             Sample("bij,bjk->bik", normal(2, 2, 3), normal(2, 3, 2)), Sample("ii->i", normal(3, 3)),
             Sample("ii", normal(3, 3)), Sample("ij->", normal(2, 3)), Sample("ij->ji", normal(2, 3)),
             Sample("...ij,...jk->...ik", normal(2, 2, 3), normal(3, 2)),
             Sample("i...,i...->...", normal(2, 1, 3), normal(2, 2, 1)), Sample("ij,k->k", normal(2, 3), normal(2)),
             Sample("i,j,k->kij", normal(2), normal(3), normal(2)), Sample("ij,j->i", normal(2, 3), normal(1)),
             Sample("iij,ikk->jk", normal(2, 2, 3), normal(2, 2, 2)), Sample("i,i->i", normal(3), normal(3)),
             Sample(",ij->ij", normal(), normal(2, 2)), Sample("ij,jk->ik", normal(2, 0), normal(0, 3))],
    errors=[Bad("ij,jk->ik", normal(2, 3), match=r"2 inputs for"),
            Bad("ij,jk->ik", normal(2, 3), normal(4, 2), match=r"one length for 'j', got 3 and 4"),
            Bad("ij->i", normal(2), match=r"2 axes for 'ij'"), Bad("ij->ik", normal(2, 2), match=r"'k'"),
            Bad("ij->ii", normal(2, 2), match=r"'i'"), Bad("i1->i", normal(2, 2), match=r"letters"),
            Bad("...i->i", normal(2, 2), match=r"an ellipsis in the output")])  # fmt: skip
def einsum(*xs: Array, subscripts: str) -> Array:
    """y = Σ x₁·x₂·… over the labels that the output lacks.   ∂L/∂xᵢ = einsum of g and the other inputs.

    "ij,jk->ik" is a product of matrices; "ii->i" a diagonal; "..." stands for any axes, broadcast. Without "->" the
    output has the labels that occur once, in the order of the alphabet.

    >>> import kinone as kn
    >>> kn.einsum("ij,j->i", np.array([[1, 2], [3, 4]]), np.array([10, 1]))
    array([12, 34])
    """
    terms, out = _parsed(subscripts, tuple(shape_of(x) for x in xs))
    return kernels.einsum(terms, out, xs)


@einsum.backward
def einsum_backward(
    g: Array, xs: Array, xs_shape: tuple[Shape, ...], xs_dtype: Any, subscripts: str
) -> tuple[Array, ...]:
    terms, out = _parsed(subscripts, xs_shape)
    lengths = [(out, g.shape), *zip(terms, xs_shape, strict=True)]
    last = max([_FRESH, *map(ord, "".join(terms))])

    def gradient(i: int) -> Array:
        fresh = last
        others = [j for j in range(len(xs)) if j != i]
        found: dict[str, int] = {}
        for term, shape in (lengths[0], *(lengths[j + 1] for j in others)):
            found.update((label, n) for label, n in zip(term, shape, strict=True) if found.get(label, 1) == 1)
        target, constants = "", []
        for label, n in zip(terms[i], xs_shape[i], strict=True):
            if label in target:  # a diagonal: the cotangent of what lies beside it is 0
                beside = chr(fresh := fresh + 1)
                constants.append((label + beside, np.eye(n, dtype=xs_dtype[i])))
                label = beside
            elif found.get(label, -1) != n:  # summed in xᵢ alone: its cotangent is the same everywhere
                constants.append((label, np.ones(n, xs_dtype[i])))
            target += label
        inputs = ",".join([out, *(terms[j] for j in others), *(term for term, _ in constants)])
        arrays = (g, *(xs[j] for j in others), *(array for _, array in constants))
        return einsum(*arrays, subscripts=f"{inputs}->{target}")

    return tuple(partial(gradient, i) for i in range(len(xs)))


def _parsed(subscripts: str, shapes: tuple[Shape, ...]) -> tuple[list[str], str]:
    """The terms with the ellipses written out in labels of our own, and the output's."""
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ShapeError("einsum", f"{len(terms)} inputs for {subscripts!r}", str(len(shapes)))
    rest = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    for term, shape, n in zip(terms, shapes, rest, strict=True):
        if n < 0 or (n and "..." not in term):
            raise ShapeError("einsum", f"{len(shape) - n} axes for {term!r}", f"shape {shape}")
    hidden = [chr(_FRESH + i) for i in range(max(rest))]
    plain = left.replace("...", "").replace(",", "")
    if not arrow:
        out = "..." * ("..." in left) + "".join(sorted(x for x, times in Counter(plain).items() if times == 1))
    labels = out.replace("...", "")
    if not (plain + labels).isalpha() and plain + labels:
        raise ShapeError("einsum", "letters, commas, '...' and '->' in subscripts", repr(subscripts))
    if wrong := [x for x, times in Counter(labels).items() if times > 1 or x not in plain]:
        raise ShapeError("einsum", "each output label once, and among the inputs'", f"{wrong[0]!r} in {subscripts!r}")
    if hidden and "..." not in out:
        raise ShapeError("einsum", "an ellipsis in the output", repr(subscripts))
    terms = [t.replace("...", "".join(hidden[len(hidden) - n :])) for t, n in zip(terms, rest, strict=True)]
    lengths: dict[str, int] = {}
    for label, n in ((label, n) for pair in zip(terms, shapes, strict=True) for label, n in zip(*pair, strict=True)):
        if n != lengths.setdefault(label, n) and lengths[label] == 1:
            lengths[label] = n
        elif n not in (1, lengths[label]):
            raise ShapeError("einsum", f"one length for {label!r}", f"{lengths[label]} and {n} in {subscripts!r}")
    return terms, out.replace("...", "".join(hidden))


@composed
def dot(a: Any, b: Any) -> Any:
    """y = Σᵢ a[…, i]·b[…, i, j], as NumPy has it: leading axes are not matched but combined, scalars multiply.

    >>> dot(np.array([1, 2]), np.array([10, 1]))
    array(12)
    """
    if not a.ndim or not b.ndim:
        return a * b
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, axes=(-1, -2 if b.ndim > 1 else -1))


@composed
def tensordot(a: Any, b: Any, *, axes: int | tuple[Any, Any] = 2) -> Any:
    """y = Σ a·b over pairs of axes: the last `axes` of a with the first of b, or two lists that name them.

    >>> tensordot(np.ones((2, 3)), np.ones((3, 2)), axes=1).shape
    (2, 2)
    """
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise AxisError("tensordot", f"axes from 0 to {min(a.ndim, b.ndim)}", f"axes={axes}")
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    ours, theirs = (
        [one_axis("tensordot", x, i, "axes") for i in ([given] if isinstance(given, int) else given)]
        for x, given in zip((a, b), axes, strict=True)
    )
    lengths = [[x.shape[i] for i in chosen] for x, chosen in ((a, ours), (b, theirs))]
    if lengths[0] != lengths[1]:
        raise ShapeError("tensordot", "paired axes of one length", f"{lengths[0]} and {lengths[1]}")
    letters = [chr(_FRESH + i) for i in range(a.ndim + b.ndim)]
    a_term, b_term = letters[: a.ndim], letters[a.ndim :]
    for i, j in zip(ours, theirs, strict=True):
        b_term[j] = a_term[i]
    out = [x for x, times in Counter(a_term + b_term).items() if times == 1]
    return einsum(a, b, subscripts=f"{''.join(a_term)},{''.join(b_term)}->{''.join(out)}")


@composed
def trace(x: Any) -> Any:
    """y = Σᵢ x[…, i, i].

    >>> trace(np.array([[1, 2], [3, 4]]))
    array(5)
    """
    return einsum(x, subscripts="...ii->...")
