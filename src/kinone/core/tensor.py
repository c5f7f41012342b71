"""The Tensor: an array, and the node that says where it came from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import NOT_KEPT, Leaf, Node, propagate
from kinone.core.methods import Methods
from kinone.core.modes import modes
from kinone.errors import DeviceError, DtypeError, GraphError, ShapeError


class Tensor(Methods):
    """An n-dimensional array that can be differentiated through.

    `data` is the NumPy array itself, never copied when it is handed in as one; Python floats become float32.
    Operators never write into it, and neither does the graph: what looks like a change in place (`fill`,
    `copy_from`, `x[i] = v`) gives the tensor a new array, so a recorded call keeps the values that it saw.

    >>> x = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([[2., 4.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "node")

    def __init__(
        self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str = "cpu"
    ) -> None:
        if device != "cpu":
            raise DeviceError("Tensor", "device 'cpu'", repr(device), hint="this build computes on the CPU only.")
        self.data: NDArray[Any] = as_array(data, dtype)
        self.node: Node | None = None
        if requires_grad:
            self.requires_grad = True

    # ------------------------------------------------------------------------------ what it is
    shape = property(lambda self: self.data.shape, doc="Lengths of the axes.")
    ndim = property(lambda self: self.data.ndim, doc="Number of axes.")
    size = property(lambda self: self.data.size, doc="Number of elements.")
    dtype = property(lambda self: self.data.dtype, doc="The NumPy dtype of the elements.")
    device = property(lambda self: "cpu", doc="Where the array lives.")
    is_leaf = property(lambda self: self.node is None or type(self.node) is Leaf, doc="No operator made it.")

    @property
    def requires_grad(self) -> bool:
        """True if gradients flow to or through this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag == (self.node is not None):
            return
        if not self.is_leaf:
            raise GraphError(
                "requires_grad",
                "a leaf",
                f"a result of {self.node.op.name}" if self.node else "",
                hint="use detach() to cut it out of its graph.",
            )
        if flag and self.data.dtype.kind != "f":
            raise DtypeError(
                "requires_grad",
                "a floating dtype",
                f"{self.data.dtype} (only real numbers have gradients)",
                hint="x.astype(kn.float32), or write 1.0 instead of 1.",
            )
        self.node = Leaf() if flag else None

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward` collected here; None before, and for tensors that keep none."""
        kept = None if self.node is None else self.node.grad
        return None if kept is NOT_KEPT else kept

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if self.node is None or self.node.grad is NOT_KEPT:
            raise GraphError("grad", "a leaf that requires gradients", "a tensor that keeps none")
        if value is not None and value.shape != self.shape:
            raise ShapeError("grad", f"shape {self.shape}", f"{value.shape}")
        self.node.grad = value

    def retain_grad(self) -> "Tensor":
        """Keep the gradient of this intermediate result too, and return the tensor."""
        if self.node is None:
            raise GraphError("retain_grad", "a tensor that requires gradients", "one that does not")
        if self.node.grad is NOT_KEPT:
            self.node.grad = None
        return self

    def zero_grad(self) -> None:
        """Forget the collected gradient."""
        if self.grad is not None:
            self.grad = None

    # ------------------------------------------------------------------------------ out of the graph
    def numpy(self) -> NDArray[Any]:
        """The array itself (not a copy)."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError("item", "a tensor with one element", f"shape {self.shape}", hint="use tolist().")
        return self.data.item()

    def tolist(self) -> Any:
        """Nested Python lists of the elements."""
        return self.data.tolist()

    def detach(self) -> "Tensor":
        """The same array without its history."""
        return wrap(self.data)

    # ------------------------------------------------------------------------------ new values
    def copy_from(self, source: Any) -> "Tensor":
        """Take over the values of `source`, in this tensor's dtype."""
        return self._replace("copy_from", source)

    def fill(self, value: float) -> "Tensor":
        """Set every element to `value`."""
        return self._replace("fill", np.full(self.shape, value, self.data.dtype))

    def __setitem__(self, index: Any, value: Any) -> None:
        changed = self.data.copy()
        changed[array_index(index)] = as_array(value, self.data.dtype)
        self._replace("setitem", changed)

    def _replace(self, where: str, source: Any) -> "Tensor":
        if self.node is not None and (modes.recording or type(self.node) is not Leaf):
            kind = "a leaf that requires gradients" if type(self.node) is Leaf else "a recorded result"
            raise GraphError(
                where,
                "a tensor that no graph records",
                kind,
                hint="change a leaf inside `with kn.no_grad():`; for a result, compute a new one (kn.where).",
            )
        new = np.array(source.data if isinstance(source, Tensor) else source, dtype=self.data.dtype)
        if new.shape != self.data.shape:
            raise ShapeError(where, f"shape {self.data.shape}", f"{new.shape}")
        self.data = new
        return self

    def _augmented(self, result: "Tensor") -> "Tensor":
        # `w -= …` under no_grad is how a step is written by hand: the leaf stays the leaf. Everywhere else an
        # augmented assignment is the plain one, and the recorded graph keeps the old array.
        return self._replace("augmented assignment", result) if type(self.node) is Leaf and not modes.recording else result

    def __iadd__(self, other: Any) -> "Tensor":
        return self._augmented(self + other)

    def __isub__(self, other: Any) -> "Tensor":
        return self._augmented(self - other)

    def __imul__(self, other: Any) -> "Tensor":
        return self._augmented(self * other)

    def __itruediv__(self, other: Any) -> "Tensor":
        return self._augmented(self / other)

    # ------------------------------------------------------------------------------ backward
    def backward(self, g: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add ∂self/∂leaf · g to the gradient of every leaf under this tensor; g may be left out for a scalar."""
        node, g = cotangent_for("backward", self, g, create_graph)
        retain = create_graph if retain_graph is None else retain_graph
        for leaf, new in propagate(node, g, create_graph=create_graph, retain_graph=retain).items():
            new = new if isinstance(new, Tensor) else wrap(new)
            old: Tensor | None = leaf.grad
            leaf.grad = new if old is None else old + new if create_graph else wrap(np.add(old.data, new.data))

    # ------------------------------------------------------------------------------ Python and NumPy
    def __len__(self) -> int:
        if not self.data.ndim:
            raise ShapeError("len", "a tensor with at least one axis", "a 0-d tensor")
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.data.__index__()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        self._refuse_to_drop_graph("__array__")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        self._refuse_to_drop_graph("__dlpack__")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.data.__dlpack_device__()

    def _refuse_to_drop_graph(self, where: str) -> None:
        if self.node is not None:
            raise GraphError(
                where,
                "a tensor without gradients",
                "one whose graph would be lost",
                hint="write x.detach() or x.numpy() to leave the graph on purpose.",
            )

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise GraphError("pickle", "a leaf", "a recorded result", hint="pickle x.detach().")
        return type(self), (self.data, self.requires_grad)

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(")
        origin = "" if self.node is None else ", requires_grad=True" if self.is_leaf else f", from={_maker(self.node)}"
        return f"Tensor({body}, dtype={self.data.dtype}{origin})"

    def _repr_html_(self) -> str:
        few = np.array2string(self.data, threshold=64, edgeitems=3, precision=4)
        finite = self.data[np.isfinite(self.data)] if self.data.dtype.kind == "f" else self.data
        spread = f"min {finite.min():.4g}, mean {finite.mean():.4g}, max {finite.max():.4g}" if finite.size else "empty"
        origin = "constant" if self.node is None else "leaf, requires grad" if self.is_leaf else _maker(self.node)
        head = f"<b>Tensor</b> {self.shape} {self.data.dtype} · {origin} · {spread}"
        return f'<div style="font-family:monospace"><div>{head}</div><pre style="margin:4px 0">{few}</pre></div>'


def _maker(node: Node) -> str:
    """The name of the operator whose result this is."""
    return node.op.name if node.op is not None else f"{node.parents[0].op.name}[{node.y}]"  # pyright: ignore[reportOptionalMemberAccess]


def wrap(array: Any, node: Node | None = None) -> Tensor:
    """A Tensor around `array` without any check: the way in for results of kernels."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = array if type(array) is np.ndarray else np.asarray(array)
    tensor.node = node
    return tensor


def as_array(data: Any, dtype: Any = None) -> NDArray[Any]:
    """`data` as an array: Tensors and arrays as they are, Python floats in float32 unless `dtype` says otherwise."""
    if isinstance(data, Tensor):
        data = data.data
    is_python = not isinstance(data, np.ndarray | np.generic)
    try:
        if is_python and isinstance(data, list | tuple) and any(isinstance(part, Tensor) for part in data):
            data = [as_array(part) for part in data]
        array = np.from_dlpack(data) if is_python and hasattr(data, "__dlpack__") else np.asarray(data)
        wanted = None if dtype is None else np.dtype(dtype)
    except ValueError as error:
        raise ShapeError("Tensor", "nested lists of one length", str(error)) from None
    except TypeError as error:
        raise DtypeError("Tensor", "numbers and a NumPy dtype", str(error)) from None
    if array.dtype.kind not in "fiub":
        raise DtypeError("Tensor", "real numbers, integers or booleans", f"dtype {array.dtype}")
    if wanted is None and isinstance(data, float | list | tuple) and array.dtype == np.float64:
        wanted = np.dtype(np.float32)
    return array if wanted is None else array.astype(wanted, copy=False)


def array_index(index: Any) -> Any:
    """An index with the arrays of the Tensors and lists in it."""
    if isinstance(index, tuple):
        return tuple(array_index(part) for part in index)
    return index.data if isinstance(index, Tensor) else np.asarray(index) if isinstance(index, list) else index


def cotangent_for(where: str, y: Tensor, g: Any, create_graph: bool) -> tuple[Node, Any]:
    """The node to start a backward walk from, and the cotangent to start it with."""
    if y.node is None:
        raise GraphError(
            where,
            "a result that requires gradients",
            "a tensor that was not recorded",
            hint="give an input requires_grad=True, and compute outside no_grad().",
        )
    if g is None:
        if y.data.size != 1:
            raise GraphError(
                where,
                "a scalar",
                f"shape {y.shape}",
                hint="reduce it first, for example y.sum(), or pass the cotangent g.",
            )
        g = np.ones_like(y.data)
    array = as_array(g, y.dtype)
    if array.shape != y.shape:
        raise ShapeError(where, f"a cotangent of shape {y.shape}", f"{array.shape}")
    if not create_graph:
        return y.node, array
    return y.node, g if isinstance(g, Tensor) else wrap(array)
