"""Resizing and turning beside PyTorch's, which weigh in floating point what Kinone weighs in whole numbers."""

from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest

from kinone.data.transforms import Rotate
from kinone.data.transforms.warp import scaled
from kinone.random import Stream

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("size", [(20, 31), (300, 9), (224, 224), (500, 57), (1, 1)])
@pytest.mark.parametrize("shape", [(2, 37, 50), (1, 224, 224)])
def test_resizing_is_bilinear_with_antialias(shape, size):
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    interpolate = torch.nn.functional.interpolate
    theirs = interpolate(torch.tensor(levels)[None].double(), size, mode="bilinear", antialias=True)[0].numpy()
    assert np.abs(scaled(levels.astype(np.float64), *size) - theirs).max() < 0.01
    assert np.abs(scaled(levels, *size) - theirs).max() < 0.51


@pytest.mark.parametrize("degrees", [-170.0, -12.5, 3.0, 45.0])
def test_turning_is_grid_sample(degrees):
    rows = columns = 64
    plane = np.add.outer(np.arange(rows) * 2.0, np.arange(columns) % 9 * 3.0)
    c, s = cos(radians(degrees)), sin(radians(degrees))
    back = torch.tensor([[[c, -s, 0], [s, c, 0]]], dtype=torch.float64)
    grid = torch.nn.functional.affine_grid(back, (1, 1, rows, columns), align_corners=False)
    theirs = torch.nn.functional.grid_sample(torch.tensor(plane)[None, None], grid, align_corners=False)[0, 0].numpy()
    ours = Rotate((degrees, degrees))(plane, Stream("peer"))
    assert np.abs(ours - theirs).max() < plane.max() / 256
