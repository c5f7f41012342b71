"""The Tensor: an array, and the node that says where it came from."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import NOT_KEPT, Leaf, Node, propagate
from kinone.core.methods import Methods
from kinone.errors import DeviceError, DtypeError, GraphError, ShapeError


class Tensor(Methods):
    """An n-dimensional array that can be differentiated through.

    `data` is the NumPy array, never copied when it is handed in as one; Python floats become float32. Nothing ever
    writes into it: what looks like a change in place (`kinone.ops.assignment`) gives the tensor a new array, so that
    a recorded call keeps the values that it saw. The operators hang further methods on `Methods`.

    >>> x = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([[2., 4.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "node")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str = "cpu") -> None:
        if device != "cpu":
            raise DeviceError("Tensor", "device='cpu'", repr(device), hint="this build computes on the CPU only.")
        self.data: NDArray[Any] = as_array(data, dtype)
        self.node: Node | None = None
        self.requires_grad = requires_grad

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
            hint = "use detach() to cut it out of its graph."
            raise GraphError("requires_grad", "a leaf", f"a result of {maker(self.node)}", hint=hint)
        if flag and self.data.dtype.kind != "f":
            hint = "x.astype(kn.float32), or write 1.0 instead of 1; only real numbers have gradients."
            raise DtypeError("requires_grad", "a floating dtype", str(self.data.dtype), hint=hint)
        self.node = Leaf() if flag else None

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that `backward` collected here; None before, and for tensors that keep none."""
        kept = None if self.node is None else self.node.grad
        return None if kept is NOT_KEPT else kept

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if self.node is None or self.node.grad is NOT_KEPT or (value is not None and value.shape != self.shape):
            got = f"a gradient of shape {value.shape}" if value is not None else "no gradient"
            raise GraphError("grad", f"a tensor of shape {self.shape} that keeps its gradient", got)
        self.node.grad = value

    def retain_grad(self) -> "Tensor":
        """Keep the gradient of this intermediate result too, and return the tensor."""
        if self.node is None:
            raise GraphError("retain_grad", "a tensor that requires gradients", "one that does not")
        self.node.grad = self.grad
        return self

    def backward(self, g: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add ∂self/∂leaf · g to the gradient of every leaf under this tensor; g may be left out for a scalar."""
        node, g = start(self, "backward", g, create_graph)
        for leaf, new in propagate(node, g, create_graph=create_graph, retain_graph=retain_graph).items():
            new = new if isinstance(new, Tensor) else wrap(new)
            leaf.grad = new if leaf.grad is None else leaf.grad + new

    def detach(self) -> "Tensor":
        """The same array without its history."""
        return wrap(self.data)

    def numpy(self) -> NDArray[Any]:
        """The array itself (not a copy)."""
        return self.data

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError("item", "a tensor with one element", f"shape {self.shape}", hint="use tolist().")
        return self.data.item()

    def __repr__(self) -> str:
        body = np.array2string(self.data, separator=", ", prefix="Tensor(")
        origin = "" if self.node is None else ", requires_grad=True" if self.is_leaf else f", from={maker(self.node)}"
        return f"Tensor({body}, dtype={self.dtype}{origin})"


def maker(node: Any) -> str:
    """The name of the operator whose result this node stands for."""
    return f"{maker(node.parents[0])}[{node.y}]" if node.op is None else node.op.name


def wrap(array: Any, node: Node | None = None) -> Tensor:
    """A Tensor around `array` without any check: the way in for results of kernels."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = array if type(array) is np.ndarray else np.asarray(array)
    tensor.node = node
    return tensor


def as_array(data: Any, dtype: Any = None, where: str = "Tensor") -> NDArray[Any]:
    """`data` as an array: Tensors and arrays as they are, Python floats in float32 unless `dtype` says otherwise."""
    array: Any = data.data if isinstance(data, Tensor) else data
    try:
        if type(array) is not np.ndarray:
            array = np.from_dlpack(array) if hasattr(array, "__dlpack__") else np.asarray(array)
        if dtype is None and type(data) in (float, list, tuple) and array.dtype == np.float64:
            dtype = np.float32
        wanted: Any = array.dtype if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError, BufferError) as error:
        raise ShapeError(where, "numbers in nested lists of equal lengths, and a NumPy dtype", str(error)) from None
    if any(kind.kind not in "fiub" or kind.itemsize > 8 for kind in (array.dtype, wanted)):
        raise DtypeError(where, "real numbers, integers or booleans", f"a {type(data).__name__} of dtype {array.dtype}")
    return array.astype(wanted, copy=False)


def start(y: Tensor, where: str, g: Any, create_graph: bool) -> tuple[Node, Any]:
    """The node from which a walk back begins, and the cotangent (ones for a scalar) with which it does."""
    if y.node is None:
        hint = "give an input requires_grad=True, and compute outside no_grad()."
        raise GraphError(where, "a result that requires gradients", "a tensor that was not recorded", hint=hint)
    if g is None and y.size != 1:
        hint = "reduce it first, for example with y.sum(), or pass the cotangent g."
        raise GraphError(where, "a scalar", f"shape {y.shape}", hint=hint)
    array = np.ones_like(y.data) if g is None else as_array(g, y.dtype)
    if array.shape != y.shape:
        raise ShapeError(where, f"a cotangent of shape {y.shape}", f"{array.shape}")
    return y.node, array if not create_graph else g if isinstance(g, Tensor) else wrap(array)
