"""What looks like a change in place: `fill`, `copy_from`, `x[i] = v`, `w -= …`.

A tensor's array is never written into. Assignment gives the tensor a new array, so whatever recorded the old one
still computes with the values that it saw.
"""

from typing import Any

import numpy as np

from kinone.core.graph import Leaf
from kinone.core.modes import modes
from kinone.core.tensor import Tensor, as_array, maker
from kinone.errors import GraphError, ShapeError
from kinone.ops.arguments import array_index


def copy_from(self: Tensor, source: Any) -> Tensor:
    """Take over the values of `source`, in this tensor's dtype, and return the tensor.

    >>> import kinone as kn
    >>> kn.Tensor([1.0, 2.0]).copy_from([3, 4])
    Tensor([3., 4.], dtype=float32)
    """
    return _replace("copy_from", self, as_array(source, self.dtype))


def fill(self: Tensor, value: float) -> Tensor:
    """Set every element to `value`, and return the tensor.

    >>> import kinone as kn
    >>> kn.Tensor([1.0, 2.0]).fill(5)
    Tensor([5., 5.], dtype=float32)
    """
    return _replace("fill", self, np.full(self.shape, value, self.dtype))


def set_item(self: Tensor, index: Any, value: Any) -> None:
    """x[index] = value, for tensors that no graph records.

    >>> import kinone as kn
    >>> x = kn.Tensor([1.0, 2.0])
    >>> x[0] = 7
    >>> x
    Tensor([7., 2.], dtype=float32)
    """
    changed = self.data.copy()
    changed[array_index(index)] = as_array(value, self.dtype)
    _replace("setitem", self, changed)


def _replace(where: str, x: Tensor, new: Any) -> Tensor:
    if x.node is not None and (modes.recording or type(x.node) is not Leaf):
        kind = "a leaf that requires gradients" if x.is_leaf else f"a recorded result of {maker(x.node)}"
        hint = "change a leaf inside `with kn.no_grad():`; instead of a result, compute a new one (kn.where)."
        raise GraphError(where, "a tensor that no graph records", kind, hint=hint)
    if new.shape != x.shape:
        raise ShapeError(where, f"shape {x.shape}", f"{new.shape}")
    x.data = np.array(new)
    return x


def _augmented(operator: str) -> Any:
    def assign(self: Any, other: Any) -> Tensor:
        # `w -= …` under no_grad is how a step is written by hand: the leaf stays the leaf. Everywhere else an
        # augmented assignment gives a new tensor.
        result = getattr(self, f"__{operator}__")(other)
        in_place = type(self.node) is Leaf and not modes.recording
        return _replace(f"i{operator}", self, result.data) if in_place else result

    assign.__doc__ = "Augmented assignment: a new tensor, or the leaf with new values under `no_grad`."
    return assign


METHODS: dict[str, Any] = {
    "copy_from": copy_from,
    "fill": fill,
    "__setitem__": set_item,
    **{f"__i{name}__": _augmented(f"{name}") for name in ("add", "sub", "mul", "truediv")},
}
