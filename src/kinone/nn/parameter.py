"""Parameter: a tensor that is there to be learned."""

from typing import Any

import numpy as np

from kinone.core.tensor import Tensor, as_array
from kinone.errors import DtypeError


class Parameter(Tensor):
    """A floating tensor that a module owns and an optimizer changes; it requires gradients unless told otherwise.

    Plain numbers count as floats here.

    >>> Parameter([1, 2])
    Tensor([1., 2.], dtype=float32, requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        array = as_array(data, dtype)
        if array.dtype.kind in "iu" and isinstance(data, int | list | tuple):
            array = array.astype(np.float32)
        if array.dtype.kind != "f":
            raise DtypeError("Parameter", "a floating dtype", str(array.dtype), hint="x.astype(np.float32).")
        super().__init__(array, requires_grad)
