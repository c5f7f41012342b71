"""The bits of a computation, operator by operator, in so few bytes that two runs can be compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinone.core.graph import Node
from kinone.inspection.observer import Observer, arrays_in, observing


class Digest(NamedTuple):
    """The results of one call: its number, the operator (`tanh`, or `tanh_backward` for its rule), blake2b in hex."""

    number: int
    op: str
    hex: str


class Difference(NamedTuple):
    """The first place where two lists part; None where one of them has ended."""

    first: Digest | None
    second: Digest | None


def digest_of(arrays: Iterable[NDArray[Any]]) -> str:
    """Of dtypes, shapes and bits: −0 is not 0 here, and one NaN not another."""
    state = blake2b(digest_size=16)
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


class Digests(Observer):
    """Takes the digest of every result and every gradient as it appears, and keeps nothing else."""

    def __init__(self) -> None:
        self.entries: list[Digest] = []

    def after_forward(self, op: Any, args: Any, attrs: Mapping[str, Any], result: Any) -> None:
        """Note the results of a call."""
        self.entries.append(Digest(len(self.entries), op.name, digest_of(arrays_in(result))))

    def after_backward(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """Note the gradients that a rule gave."""
        self.entries.append(Digest(len(self.entries), f"{node.op.name}_backward", digest_of(arrays_in(gradients))))

    def digests(self) -> list[Digest]:
        """What was noted, in order."""
        return list(self.entries)


@contextmanager
def digesting() -> Iterator[Digests]:
    """Take the digests of whatever runs in the block: a whole training step, backward included.

    >>> import kinone as kn
    >>> with digesting() as d:
    ...     x = kn.Tensor(3.0, requires_grad=True)
    ...     (x * x).backward()
    >>> [entry.op for entry in d.digests()]
    ['multiply', 'multiply_backward']
    """
    with observing(Digests()) as watcher:
        yield watcher


def first_difference(a: Any, b: Any) -> Difference | None:
    """The first call whose bits differ between two recordings, `Digests` or lists of them; None if there is none.

    >>> import kinone as kn
    >>> f = lambda x: kn.tanh(x * 2.0)
    >>> first_difference(kn.record(f, 1.0), kn.record(f, 1.0)) is None
    True
    >>> first_difference(kn.record(f, 1.0), kn.record(f, 1.5)).first.op
    'multiply'
    """
    ours, theirs = (list(x.digests() if hasattr(x, "digests") else x) for x in (a, b))
    for first, second in zip(ours, theirs, strict=False):
        if first[1:] != second[1:]:
            return Difference(first, second)
    short = min(len(ours), len(theirs))
    rest = (*ours[short : short + 1], *theirs[short : short + 1])
    return Difference(*((rest[0], None) if len(ours) > short else (None, rest[0]))) if rest else None
