"""The operators, one family a file. `ALL_OPS` is the list that methods, tests, docs and exports are made from."""

import copyreg
from operator import attrgetter
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

from kinone.core.methods import Methods
from kinone.core.op import Op
from kinone.ops import (
    activation,
    adaptive,
    arithmetic,
    arrange,
    assignment,
    attend,
    batch_norms,
    columns,
    compare,
    contraction,
    convolution,
    create,
    ctc,
    cumulative,
    diagonals,
    drop,
    excite,
    exponential,
    function,
    index,
    interop,
    jacobians,
    linalg,
    loss,
    norms,
    order,
    pool,
    rectifier,
    recurrent,
    reduce,
    resize,
    rounding,
    shape,
    trigonometric,
)

FAMILIES: tuple[ModuleType, ...] = (
    arithmetic, rounding, exponential, trigonometric, compare, activation, rectifier, reduce, cumulative, shape,
    arrange, index, diagonals, order, linalg, contraction, convolution, columns, pool, resize, adaptive,
    norms, batch_norms, excite, attend, recurrent, ctc, loss, drop, create, jacobians, function,
)  # fmt: skip


def _public(family: ModuleType) -> dict[str, Any]:
    """The operators and functions that a family defines itself, rules and definitions aside."""
    return {
        name: value
        for name, value in vars(family).items()
        if isinstance(value, Op | FunctionType | type)
        and value.__module__ == family.__name__
        and not name.startswith("_")
        and not name.endswith(("_backward", "_definition"))
    }


def _collected() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for family in FAMILIES:
        for name, value in _public(family).items():
            if name in found:
                raise TypeError(f"two families define {name}")
            found[name] = value
    return found


EXPORTS = MappingProxyType(_collected())
ALL_OPS: MappingProxyType[str, Op[...]] = MappingProxyType(
    {op.name: op for op in EXPORTS.values() if isinstance(op, Op)}
)
__all__ = list(EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]
globals().update(EXPORTS)


def _method(op: Op[...], *, is_reflected: bool) -> Any:
    def method(self: Any, *args: Any, **attrs: Any) -> Any:
        return op(*args, self, **attrs) if is_reflected else op(self, *args, **attrs)

    method.__name__, method.__doc__ = op.name, op.__doc__
    return method


METHODS: MappingProxyType[str, Any] = MappingProxyType(
    {
        **{name: _method(op, is_reflected=False) for op in ALL_OPS.values() for name in op.methods},
        **{name: _method(op, is_reflected=True) for op in ALL_OPS.values() for name in op.reflected},
        **assignment.METHODS,
        **interop.methods(ALL_OPS),
    }
)
for _name, _value in METHODS.items():
    setattr(Methods, _name, _value)

# By name, as functions are pickled: what holds kn.relu can be copied, and go to a worker process.
copyreg.pickle(Op, attrgetter("name"))
