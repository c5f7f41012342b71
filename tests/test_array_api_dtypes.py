"""The Array API namespace: its dtypes and defaults, what it says of itself, and the way into it."""

from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, DeviceError, DtypeError
from kinone.ops.standard import COVERED, STANDARD

xp: Any = kn.Tensor(0.0).__array_namespace__()


def test_constants_and_dtypes() -> None:
    assert (xp.pi, xp.e, xp.inf, xp.newaxis) == (np.pi, np.e, np.inf, None) and np.isnan(xp.nan)
    for name in STANDARD["Data types"].split():
        if name in COVERED:
            assert kn.zeros((), dtype=getattr(xp, name)).dtype == getattr(xp, name) == np.dtype(name)


def test_functions_of_dtypes() -> None:
    x = kn.Tensor([1.0])
    assert xp.finfo(x).eps == xp.finfo(xp.float32).eps == np.finfo(np.float32).eps
    assert xp.finfo(xp.float64).bits == 64 and xp.iinfo(xp.int8).max == 127 and xp.iinfo(kn.Tensor([1])).bits == 64
    assert xp.can_cast(xp.int8, xp.int16) and not xp.can_cast(x, xp.int32)
    assert xp.isdtype(x.dtype, "real floating") and not xp.isdtype(x.dtype, ("integral", "bool"))
    assert xp.result_type(xp.int8, kn.Tensor([1])) == xp.int64 and xp.result_type(x, 2.0) == xp.float32
    assert xp.result_type(xp.bool, xp.bool) == xp.bool
    with pytest.raises(DtypeError, match="float32 and float64"):
        xp.result_type(xp.float32, xp.float64)
    with pytest.raises(ArgumentError, match="at least one array or dtype"):
        xp.result_type()


def test_defaults_are_the_standards() -> None:
    for made in (
        xp.zeros(2),
        xp.ones((2,)),
        xp.eye(2),
        xp.linspace(0, 1, 3),
        xp.full(2, 1.0),
        xp.asarray([1.0]),
        xp.empty(1),
    ):
        assert made.dtype == xp.float32
    assert xp.arange(3).dtype == xp.full(2, 1).dtype == xp.asarray([1]).dtype == xp.int64
    assert xp.zeros(2, dtype=None, device=None).device == "cpu"
    assert not np.asarray(xp.empty((3,))).any()


def test_namespace_info() -> None:
    info = xp.__array_namespace_info__()
    assert xp.__array_api_version__ == "2024.12"
    assert info.capabilities() == np.__array_namespace_info__().capabilities()
    assert info.devices() == [info.default_device()] == ["cpu"]
    assert info.default_dtypes(device="cpu") == {
        "real floating": np.float32,
        "integral": np.int64,
        "indexing": np.int64,
    }
    kinds: list[Any] = ["bool", "signed integer", "unsigned integer", "integral", "real floating", ("bool", "integral")]
    for kind in kinds:
        assert info.dtypes(kind=kind) == np.__array_namespace_info__().dtypes(kind=kind)
    assert "complex64" not in info.dtypes()
    with pytest.raises(DeviceError, match="cuda"):
        info.dtypes(device="cuda:0")


def test_the_way_in() -> None:
    x = kn.Tensor([1.0])
    assert x.__array_namespace__(api_version="2023.12") is xp
    with pytest.raises(ArgumentError, match=r"\[__array_namespace__\] expected an edition"):
        x.__array_namespace__(api_version="1999.01")
    assert x.to_device("cpu") is x and x.device == "cpu"
    with pytest.raises(DeviceError):
        x.to_device("cuda:0")
    with pytest.raises(DeviceError, match="no stream"):
        x.to_device("cpu", stream=1)
