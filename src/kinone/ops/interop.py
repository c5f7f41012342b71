"""How a Tensor meets Python, NumPy, DLPack, the Array API and notebooks.

`np.exp(tensor)` and `np.concatenate([tensor, …])` run the operator that declares them, graph and all; a NumPy function
that no operator declares is refused with an error, never answered with an array whose history is lost.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.op import Op
from kinone.core.tensor import Tensor, maker
from kinone.errors import ArgumentError, DeviceError, GraphError, ShapeError


def length(self: Tensor) -> int:
    """The length of the first axis."""
    if not self.ndim:
        raise ShapeError("len", "a tensor with at least one axis", "a 0-d tensor")
    return len(self.data)


def iterate(self: Tensor) -> Iterator[Tensor]:
    """The slices along the first axis, one after the other."""
    return (self[i] for i in range(len(self)))


def _number(kind: type) -> Callable[[Tensor], Any]:
    def number(self: Tensor) -> Any:
        return kind(self.item())

    number.__doc__ = f"The only element as a Python {kind.__name__}."
    number.__annotations__["return"] = kind
    return number


def index(self: Tensor) -> int:
    """The only element of an integer tensor, for Python's own indexing."""
    return self.data.__index__()


def tolist(self: Tensor) -> Any:
    """The elements as nested Python lists."""
    return self.data.tolist()


def transposed(self: Tensor) -> Tensor:
    """The matrix with its axes exchanged; other ranks say which axes they mean."""
    if self.ndim != 2:
        raise ShapeError("T", "a matrix", f"shape {self.shape}", hint="use .mT for the last two axes, or permute(…).")
    return self.mT


def matrix_transposed(self: Tensor) -> Tensor:
    """The last two axes exchanged."""
    if self.ndim < 2:
        raise ShapeError("mT", "at least two axes", f"shape {self.shape}")
    return self.transpose((*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))


def to(self: Tensor, *targets: Any) -> Tensor:
    """The tensor on a device and in a dtype: `x.to("cpu")`, `x.to(kn.float64)`, `x.to("cpu", kn.float64)`."""
    result = self
    for target in targets:
        if isinstance(target, str) and (target == "cpu" or target.startswith("cuda")):
            result = result if target == "cpu" else Tensor(result.data, device=target)
        else:
            result = result.astype(target)
    return result


def array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
    """The array, for NumPy; refused where the graph would be lost without a word."""
    _refuse_to_lose_the_graph("__array__", self)
    return np.array(self.data, dtype=dtype, copy=copy)


def dlpack(self: Tensor, **options: Any) -> Any:
    """The array as a DLPack capsule, for PyTorch, JAX, CuPy and others."""
    _refuse_to_lose_the_graph("__dlpack__", self)
    return self.data.__dlpack__(**options)


def dlpack_device(self: Tensor) -> Any:
    """Where the array lives, in DLPack's numbers."""
    return self.data.__dlpack_device__()


def array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The namespace of the Array API standard; `kinone.ops.standard` says what of the standard it covers."""
    from kinone.ops import array_api

    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ArgumentError("__array_namespace__", "an edition of the standard up to 2024.12", repr(api_version))
    return array_api


def to_device(self: Tensor, device: str, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device, in the Array API's words: `x.to_device("cpu")`."""
    if not isinstance(device, str) or stream is not None:
        raise DeviceError("to_device", "the name of a device, and no stream", f"{device!r}, stream={stream!r}")
    return Tensor(self.data, device=device) if device != "cpu" else self


def _refuse_to_lose_the_graph(where: str, x: Tensor) -> None:
    if x.node is not None:
        hint = "write x.detach() or x.numpy() to leave the graph on purpose."
        raise GraphError(where, "a tensor without gradients", "one whose graph would be lost", hint=hint)


def reduced(self: Tensor) -> Any:
    """How pickle and copy take a tensor apart: a leaf whole, a recorded result not at all."""
    if not self.is_leaf:
        raise GraphError("pickle", "a leaf", f"a recorded result of {maker(self.node)}", hint="use x.detach().")
    return type(self), (self.data, self.requires_grad)


def html(self: Tensor) -> str:
    """A notebook's view: what it is, its spread, and the corners of its values."""
    few = np.array2string(self.data, threshold=64, edgeitems=3, precision=4)
    known = self.data[np.isfinite(self.data)] if self.dtype.kind == "f" else self.data
    spread = (
        f"min {known.min():.4g} · mean {known.mean():.4g} · max {known.max():.4g}" if known.size else "no finite value"
    )
    origin = "constant" if self.node is None else "leaf, requires grad" if self.is_leaf else f"from {maker(self.node)}"
    return (
        '<div style="display:inline-block;border:1px solid #8886;border-radius:6px;padding:6px 10px;'
        f'font-family:ui-monospace,monospace;font-size:12px"><b>Tensor</b> {self.shape} {self.dtype} · {origin}'
        f'<div style="opacity:.65">{spread}</div><pre style="margin:4px 0 0">{few}</pre></div>'
    )


def methods(ops: Mapping[str, Op[...]]) -> dict[str, Any]:
    """The special methods of Tensor, given the operators that NumPy's functions are to reach."""
    table: dict[Any, Callable[..., Any]] = {function: op for op in ops.values() for function in op.numpy}
    table |= {np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size}

    def find(function: Any) -> Callable[..., Any]:
        if function not in table:
            name = getattr(function, "__name__", str(function))
            hint = f"kn.{name} exists." if name in ops else "x.numpy() gives the array, outside the graph."
            raise ArgumentError(f"np.{name}", "a NumPy function that an operator answers for", "a Tensor", hint=hint)
        return table[function]

    def ufunc(self: Tensor, function: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            what = f"np.{function.__name__}" + ("" if method == "__call__" else f".{method}")
            got = f"{method} with {', '.join(options) or 'no options'}"
            raise ArgumentError(
                what, "a plain call of the function on Tensors", got, hint="use x.numpy() for the rest."
            )
        return find(function)(*inputs)

    def array_function(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return find(function)(*args, **kwargs)

    return {
        "__len__": length,
        "__iter__": iterate,
        **{f"__{kind.__name__}__": _number(kind) for kind in (bool, float, int)},
        "__index__": index,
        "tolist": tolist,
        "T": property(transposed),
        "mT": property(matrix_transposed),
        "to": to,
        "to_device": to_device,
        "__array__": array,
        "__array_namespace__": array_namespace,
        "__array_ufunc__": ufunc,
        "__array_function__": array_function,
        "__dlpack__": dlpack,
        "__dlpack_device__": dlpack_device,
        "__reduce__": reduced,
        "_repr_html_": html,
    }
