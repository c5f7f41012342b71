"""Lets the functions of `einops` work on Tensors. Copy this file into your project, and import it once."""

from collections.abc import Sequence
from typing import Any

from einops._backends import AbstractBackend

import kinone as kn


class KinoneBackend(AbstractBackend):
    """What einops asks of a framework; it finds this class among the subclasses of its own."""

    framework_name = "kinone"

    def is_appropriate_type(self, tensor: Any) -> bool:
        return isinstance(tensor, kn.Tensor)

    def is_float_type(self, x: kn.Tensor) -> bool:
        return x.dtype.kind == "f"

    def transpose(self, x: kn.Tensor, axes: Sequence[int]) -> kn.Tensor:
        return kn.permute_dims(x, tuple(axes))

    def add_axis(self, x: kn.Tensor, new_position: int) -> kn.Tensor:
        return kn.expand_dims(x, axis=new_position)

    def tile(self, x: kn.Tensor, repeats: Sequence[int]) -> kn.Tensor:
        return kn.tile(x, tuple(repeats))

    def concat(self, tensors: Sequence[kn.Tensor], axis: int) -> kn.Tensor:
        return kn.concat(*tensors, axis=axis)

    def stack_on_zeroth_dimension(self, tensors: Sequence[kn.Tensor]) -> kn.Tensor:
        return kn.stack(*tensors)

    def einsum(self, pattern: str, *x: kn.Tensor) -> kn.Tensor:
        return kn.einsum(pattern, *x)
