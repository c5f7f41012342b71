"""Windows that slide over the spatial axes of x (batch, channels, *spatial): which output sees which element of x."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
Slices = tuple[slice, ...]


def out_size(size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Ints:
    """The number of windows along each axis.

    >>> out_size((5, 5), (3, 3), (2, 1), ((1, 1), (0, 0)), (1, 2))
    (3, 1)
    """
    rows = zip(size, kernel, stride, padding, dilation, strict=True)
    return tuple((n + before + after - d * (k - 1) - 1) // s + 1 for n, k, s, (before, after), d in rows)


def taps(
    size: Ints, out: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> Iterator[tuple[Ints, Slices, Slices]]:
    """For each offset in the kernel, in row-major order: (offset, outputs, elements), two indices that pair up.

    Through that offset of their windows those outputs see those elements; all others see padding. `a[..., *outputs]`
    and `x[..., *elements]` have one shape.

    >>> for offset, outputs, elements in taps((4,), (2,), (3,), (2,), ((1, 0),), (1,)):
    ...     print(offset, outputs, elements)
    (0,) (slice(1, 2, None),) (slice(1, 2, 2),)
    (1,) (slice(0, 2, None),) (slice(0, 3, 2),)
    (2,) (slice(0, 2, None),) (slice(1, 4, 2),)
    """
    rows = [*zip(size, out, stride, padding, dilation, strict=True)]
    for offset in np.ndindex(*kernel):
        outputs: list[slice] = []
        elements: list[slice] = []
        for (n, m, s, (before, _), d), k in zip(rows, offset, strict=True):
            start = d * k - before  # of output 0; output i sees start + i·s
            first = max(0, -(start // s))
            last = max(first, min(m, (n - 1 - start) // s + 1))
            outputs.append(slice(first, last))
            elements.append(
                slice(start + first * s, start + (last - 1) * s + 1 if last > first else start + first * s, s)
            )
        yield offset, tuple(outputs), tuple(elements)
