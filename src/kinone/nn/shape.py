"""Layers that arrange: axes made one or several, borders."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kinone.errors import ArgumentError, ShapeError
from kinone.kernels.windows import Ints
from kinone.nn.layer import Layer, count
from kinone.ops import flatten, pad, reshape
from kinone.ops.arguments import one_axis, shape_of
from kinone.ops.window import checked_rank


class Flatten(Layer):
    """y = x with the axes from start_dim to end_dim as one: (N, C, H, W) → (N, C·H·W).

    >>> import kinone as kn
    >>> Flatten()(kn.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return flatten(x, start_axis=self.start_dim, end_axis=self.end_dim)


class Unflatten(Layer):
    """y = x with the axis `dim` as several, of lengths `unflattened_size`, one of which may be −1.

    >>> import kinone as kn
    >>> Unflatten(1, (3, -1))(kn.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        sizes = tuple(count("Unflatten", "unflattened_size", n, -1) for n in unflattened_size)
        if not sizes or sizes.count(-1) > 1:
            raise ArgumentError("Unflatten", "unflattened_size with at most one −1", f"{tuple(unflattened_size)}")
        self.dim, self.unflattened_size = dim, sizes

    def forward(self, x: Any) -> Any:
        shape, sizes = shape_of(x), self.unflattened_size
        axis = one_axis("Unflatten", x, self.dim, "dim")
        known = int(np.prod([n for n in sizes if n >= 0]))
        fits = shape[axis] == known if -1 not in sizes else known and shape[axis] % known == 0
        if not fits:
            raise ShapeError("Unflatten", f"an axis {self.dim} that makes {sizes}", f"{shape[axis]} (x is {shape})")
        if -1 in sizes:
            sizes = tuple(shape[axis] // known if n < 0 else n for n in sizes)
        return reshape(x, (*shape[:axis], *sizes, *shape[axis + 1 :]))


# ------------------------------------------------------------------------------ borders
class Border(Layer):
    """What layers share that put something around the spatial axes."""

    rank: ClassVar[int]
    mode: ClassVar[str] = "constant"
    value: float = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        self._set(padding)

    def _set(self, padding: int | Sequence[int]) -> None:
        where, n = type(self).__name__, 2 * self.rank
        widths = (padding,) * n if isinstance(padding, int | np.integer) else tuple(padding)
        if len(widths) != n:
            names = ("left, right", "top, bottom", "front, back")[: self.rank]
            raise ArgumentError(where, f"padding: one width, or ({', '.join(names)})", f"padding={padding!r}")
        self.padding: Ints = tuple(count(where, "padding", width, 0) for width in widths)

    def forward(self, x: Any) -> Any:
        checked_rank(type(self).__name__, "x", x, self.rank)
        p = self.padding
        pairs = [(p[2 * i], p[2 * i + 1]) for i in reversed(range(self.rank))]  # the last axis stands first
        self._check_room(shape_of(x), pairs)
        return pad(x, ((0, 0), (0, 0), *pairs), mode=self.mode, constant_values=self.value)

    def _check_room(self, shape: tuple[int, ...], pairs: Sequence[Sequence[int]]) -> None:
        least = {"reflect": 1, "wrap": 0}.get(self.mode)
        if least is not None and any(max(pair) > n - least for pair, n in zip(pairs, shape[2:], strict=True)):
            expected = f"padding of at most {'the length less 1' if least else 'the length'} of each axis"
            raise ShapeError(type(self).__name__, expected, f"{self.padding} for x of shape {shape}")


class ZeroPad1d(Border):
    """x (N, C, L) with zeros around it.

    `padding` is one width, or (left, right).

    >>> ZeroPad1d(1)([[[1.0, 2.0]]])[0, 0].tolist()
    [0.0, 1.0, 2.0, 0.0]
    """

    rank = 1


class ZeroPad2d(Border):
    """x (N, C, H, W) with zeros around it.

    `padding` is one width, or (left, right, top, bottom).

    >>> ZeroPad2d((1, 1, 0, 0))([[[[1.0, 2.0]]]])[0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 0.0]
    """

    rank = 2


class ZeroPad3d(Border):
    """x (N, C, D, H, W) with zeros around it.

    `padding` is one width, or (left, right, top, bottom, front, back).

    >>> ZeroPad3d((1, 1, 0, 0, 0, 0))([[[[[1.0, 2.0]]]]])[0, 0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 0.0]
    """

    rank = 3


class ReflectionPad1d(Border):
    """x (N, C, L) with x mirrored at its edge, which stands once around it.

    `padding` is one width, or (left, right).

    >>> ReflectionPad1d(1)([[[1.0, 2.0]]])[0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 1
    mode = "reflect"


class ReflectionPad2d(Border):
    """x (N, C, H, W) with x mirrored at its edge, which stands once around it.

    `padding` is one width, or (left, right, top, bottom).

    >>> ReflectionPad2d((1, 1, 0, 0))([[[[1.0, 2.0]]]])[0, 0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 2
    mode = "reflect"


class ReflectionPad3d(Border):
    """x (N, C, D, H, W) with x mirrored at its edge, which stands once around it.

    `padding` is one width, or (left, right, top, bottom, front, back).

    >>> ReflectionPad3d((1, 1, 0, 0, 0, 0))([[[[[1.0, 2.0]]]]])[0, 0, 0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 3
    mode = "reflect"


class ReplicationPad1d(Border):
    """x (N, C, L) with its edge repeated around it.

    `padding` is one width, or (left, right).

    >>> ReplicationPad1d(1)([[[1.0, 2.0]]])[0, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rank = 1
    mode = "edge"


class ReplicationPad2d(Border):
    """x (N, C, H, W) with its edge repeated around it.

    `padding` is one width, or (left, right, top, bottom).

    >>> ReplicationPad2d((1, 1, 0, 0))([[[[1.0, 2.0]]]])[0, 0, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rank = 2
    mode = "edge"


class ReplicationPad3d(Border):
    """x (N, C, D, H, W) with its edge repeated around it.

    `padding` is one width, or (left, right, top, bottom, front, back).

    >>> ReplicationPad3d((1, 1, 0, 0, 0, 0))([[[[[1.0, 2.0]]]]])[0, 0, 0, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    rank = 3
    mode = "edge"


class CircularPad1d(Border):
    """x (N, C, L) with its other end around it.

    `padding` is one width, or (left, right).

    >>> CircularPad1d(1)([[[1.0, 2.0]]])[0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 1
    mode = "wrap"


class CircularPad2d(Border):
    """x (N, C, H, W) with its other end around it.

    `padding` is one width, or (left, right, top, bottom).

    >>> CircularPad2d((1, 1, 0, 0))([[[[1.0, 2.0]]]])[0, 0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 2
    mode = "wrap"


class CircularPad3d(Border):
    """x (N, C, D, H, W) with its other end around it.

    `padding` is one width, or (left, right, top, bottom, front, back).

    >>> CircularPad3d((1, 1, 0, 0, 0, 0))([[[[[1.0, 2.0]]]]])[0, 0, 0, 0].tolist()
    [2.0, 1.0, 2.0, 1.0]
    """

    rank = 3
    mode = "wrap"


class ConstantBorder(Border):
    """A border of one value."""

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        self._set(padding)
        self.value = value


class ConstantPad1d(ConstantBorder):
    """x (N, C, L) with `value` around it.

    `padding` is one width, or (left, right).

    >>> ConstantPad1d(1, 5.0)([[[1.0, 2.0]]])[0, 0].tolist()
    [5.0, 1.0, 2.0, 5.0]
    """

    rank = 1


class ConstantPad2d(ConstantBorder):
    """x (N, C, H, W) with `value` around it.

    `padding` is one width, or (left, right, top, bottom).

    >>> ConstantPad2d((1, 1, 0, 0), 5.0)([[[[1.0, 2.0]]]])[0, 0, 0].tolist()
    [5.0, 1.0, 2.0, 5.0]
    """

    rank = 2


class ConstantPad3d(ConstantBorder):
    """x (N, C, D, H, W) with `value` around it.

    `padding` is one width, or (left, right, top, bottom, front, back).

    >>> ConstantPad3d((1, 1, 0, 0, 0, 0), 5.0)([[[[[1.0, 2.0]]]]])[0, 0, 0, 0].tolist()
    [5.0, 1.0, 2.0, 5.0]
    """

    rank = 3
