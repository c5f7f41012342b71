"""Anomaly mode: the first operator that makes a NaN or an infinity is named, its inputs are kept for a second run."""

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Leaf, Node
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, NumericsError
from kinone.inspection.observer import Observer, arrays_in, observing
from kinone.ops import ALL_OPS

_FORMAT = "kinone.anomaly.v1"


@contextmanager
def detect_anomaly(save_to: Any = None) -> Iterator[None]:
    """Raise at the first operator, or rule, that gives a NaN or an infinity though nothing of the kind went in.

    Infinities that were handed in (masks of −∞) may pass on as such; a NaN that was handed in is reported where it
    first reaches a result. What went in is saved in the folder `save_to` (else that for temporary files), or under
    that very name if it ends in .npz, and `kinone.inspection.rerun` calls the operator on it again.

    >>> import kinone as kn
    >>> with kn.detect_anomaly():
    ...     kn.Tensor([1.0, 3e38]) * 2.0
    Traceback (most recent call last):
    kinone.errors.NumericsError: [multiply] expected finite values from finite inputs, got inf at [1] (1 of 2 ...
    """
    with observing(_Detector(save_to)), np.errstate(all="ignore"):
        yield


def rerun(path: Any, op: Any = None) -> Any:
    """Call the operator whose inputs anomaly mode saved at `path`: its arrays, or its rule's gradient for each input.

    An operator of your own is not known by its name alone: pass it as `op`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(str(arrays["call"]))
        is_ours = head["format"] == _FORMAT
        name, call = head["op"], _decoded(head["call"], arrays)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError("rerun", "a file that anomaly mode wrote", f"{path} ({error})") from None
    op = ALL_OPS.get(name) if op is None else op
    if not is_ours or op is None:
        got = f"{name}" if is_ours else f"format {head['format']!r}"
        raise ArgumentError(
            "rerun", f"format {_FORMAT} and an operator of kinone.ops", got, hint="rerun(path, op=yours)."
        )
    with np.errstate(all="ignore"):
        if "inputs" not in call:
            parents = tuple(Leaf() if is_needed else None for is_needed in call["needed"])
            node = Node(op, parents, call["arrays"], call["y"], call["attributes"], call["shapes"])
            return op.pull(node, call["g"], False, None)
        leading = op.leading[:-1] if op.is_variadic else []  # they stand before the inputs, as in einsum
        named = {k: v for k, v in call["attributes"].items() if k not in leading}
        return op(*(call["attributes"][k] for k in leading), *call["inputs"], **named)


class _Detector(Observer):
    def __init__(self, save_to: Any) -> None:
        self.save_to = save_to

    def after_forward(self, op: Any, args: Any, attrs: Mapping[str, Any], result: Any) -> None:
        """Look at the results of a call."""
        for y in arrays_in(result):
            if fault := _fault(y, args):
                self._report(op.name, *fault, {"inputs": list(args), "attributes": {**op.defaults, **attrs}})

    def after_backward(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """Look at the gradients that a rule gave."""
        for i, gradient in enumerate(gradients):
            for array in arrays_in(gradient):
                if fault := _fault(array, [g, node.arrays, node.y]):
                    inputs = getattr(node.op, "inputs", None) or ["input"]
                    of = inputs[i] if len(inputs) == len(gradients) else f"{inputs[0]}[{i}]"
                    call = {name: getattr(node, name) for name in ("arrays", "y", "shapes")}
                    call |= {
                        "g": g,
                        "attributes": node.attrs,
                        "needed": [parent is not None for parent in node.parents],
                    }
                    self._report(node.op.name, fault[0], f"{fault[1]} in the gradient of {of}", call)

    def _report(self, name: str, expected: str, got: str, call: dict[str, Any]) -> None:
        try:
            path = _saved(self.save_to, name, call)
            hint = f"what went in is saved; kinone.inspection.rerun({str(path)!r}) runs it again."
        except OSError as error:
            hint = f"what went in could not be saved ({error})."
        raise NumericsError(name, expected, got, hint=hint)


def _fault(y: NDArray[Any], given: Any) -> tuple[str, str] | None:
    """What was expected of y and what it is instead, if it has something that is not finite and did not go in."""
    if y.dtype.kind != "f" or np.isfinite(y).all():
        return None
    went_in = [x for x in _numbers_in(given) if x.dtype.kind == "f"]
    bad = np.isnan(y)
    if bad.any():
        came_in = any(np.isnan(x).any() for x in went_in)
        # Every call before this one was looked at: a NaN among the inputs was there before any operator ran.
        expected = "inputs without NaN (no operator made one)" if came_in else "no NaN from inputs without one"
    elif all(np.isfinite(x).all() for x in went_in):
        bad, expected = ~np.isfinite(y), "finite values from finite inputs"
    else:
        return None
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    return expected, f"{y[first]} at {list(first)} ({np.count_nonzero(bad)} of {y.size} elements)"


def _numbers_in(value: Any) -> list[NDArray[Any]]:
    """All arrays and plain numbers in a nested structure, as arrays."""
    if isinstance(value, list | tuple):
        return [x for part in value for x in _numbers_in(part)]
    value = value.data if isinstance(value, Tensor) else value
    return [np.asarray(value)] if isinstance(value, np.ndarray | np.generic | float) else []


# ------------------------------------------------------------------------------ the file
def _saved(save_to: Any, name: str, call: dict[str, Any]) -> Path:
    """Write the file beside its place and move it there whole."""
    place = Path(tempfile.gettempdir() if save_to is None else save_to)
    folder = place.parent if place.suffix == ".npz" else place
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    head = {"format": _FORMAT, "op": name, "call": _encoded(call, "", arrays)}
    arrays["call"] = np.array(json.dumps(head))
    handle, unfinished = tempfile.mkstemp(prefix=f"anomaly-{name}-", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        return Path(unfinished).replace(place if place.suffix == ".npz" else Path(unfinished).with_suffix(".npz"))
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _encoded(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:
    """`value` for JSON, its arrays under names of their own."""
    if value is None or (isinstance(value, int | float | str) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        arrays[path] = np.asarray(value.data if isinstance(value, Tensor) else value)
        return {"scalar" if isinstance(value, np.generic) else "array": path}
    if isinstance(value, list | tuple):
        parts = [_encoded(part, f"{path}.{i}" if path else str(i), arrays) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    if isinstance(value, dict):
        return {"dict": {k: _encoded(v, f"{path}.{k}" if path else str(k), arrays) for k, v in value.items()}}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return {"dtype": np.dtype(value).str}
    return {"ellipsis": True} if value is Ellipsis else {"unsaved": repr(value)}


def _decoded(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_decoded(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    match kind:
        case "array":
            return arrays[body]
        case "scalar":
            return arrays[body][()]
        case "tuple":
            return tuple(_decoded(part, arrays) for part in body)
        case "dict":
            return {name: _decoded(part, arrays) for name, part in body.items()}
        case "slice":
            return slice(*body)
        case "dtype":
            return np.dtype(body)
        case "ellipsis":
            return ...
        case _:
            raise ValueError(f"{body} is nothing that a file can hold")
