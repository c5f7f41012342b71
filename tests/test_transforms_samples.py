"""Transforms of samples: where the image is found in them, what is refused, and other people's pipelines."""

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

from film_samples import LEVELS, VALUES, stream
from kinone.data.transforms import (
    CLAHE,
    TRANSFORMS,
    Adapted,
    Affine,
    Compose,
    HorizontalFlip,
    Noise,
    Normalize,
    OneOf,
    ResizedCrop,
    Rotate,
    Sometimes,
)  # fmt: skip
from kinone.errors import ArgumentError, DtypeError, ShapeError

ANY: dict[str, Any] = dict(TRANSFORMS)  # for arguments that their types forbid


# ------------------------------------------------------------------------------ samples
class Row(NamedTuple):
    """A sample with names."""

    image: Any
    label: int


def test_the_image_is_found_in_the_sample():
    flip, expected = HorizontalFlip(p=1), LEVELS[..., ::-1]
    assert np.array_equal(flip(LEVELS, stream()), expected)
    image, label = flip([LEVELS, 3], stream())
    assert np.array_equal(image, expected) and label == 3
    row = flip(Row(LEVELS, 4), stream())
    assert isinstance(row, Row) and row.label == 4 and np.array_equal(row.image, expected)
    sample = flip({"name": "a", "image": LEVELS}, stream())
    assert sample["name"] == "a" and np.array_equal(sample["image"], expected)


@pytest.mark.parametrize(
    ("sample", "error", "match"),
    [
        ([1, 2], DtypeError, "an image that is a NumPy array, got a int"),
        (np.zeros((2, 2), np.int64), DtypeError, "uint8, float32 or float64, got int64"),
        (np.zeros(3), ShapeError, r"an image \(H, W\) or \(C, H, W\), got shape \(3,\)"),
        (np.zeros((1, 0, 3)), ShapeError, r"got shape \(1, 0, 3\)"),
        (np.zeros((9, 9, 3)), ShapeError, r"channels last. Hint: np.moveaxis"),
        ({"film": LEVELS}, ArgumentError, "a sample with an entry \"image\", got one with 'film'"),
    ],
)
def test_what_is_no_image_is_refused(sample, error, match):
    with pytest.raises(error, match=match):
        Rotate()(sample, stream())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: Rotate((5, -5)),
            "[Rotate] expected degrees=(low, high) with -360 ≤ low ≤ high ≤ 360, got (5, -5)",
        ),
        (lambda: ANY["Rotate"]("10"), "degrees=(low, high), two numbers, got '10'"),
        (lambda: Rotate(float("nan")), "got nan"),
        (lambda: Rotate(True), "got True"),
        (lambda: ANY["Rotate"](fill="black"), "fill, a number or None"),
        (lambda: Rotate(fill=2)(LEVELS, stream()), "fill from 0 to 1 for an image of levels, got 2"),
        (lambda: ResizedCrop(8, scale=(0, 1)), "scale=(low, high) with 0.0001 ≤ low"),
        (lambda: ResizedCrop(0), "size, a whole number ≥ 1 or two, got 0"),
        (lambda: ANY["Resize"]((3, 4.5)), "got (3, 4.5)"),
        (lambda: Affine(scale=-1), "scale=(low, high)"),
        (lambda: Noise(2), "std=(low, high) with 0 ≤ low ≤ high ≤ 1"),
        (lambda: HorizontalFlip(p=1.5), "[HorizontalFlip] expected p from 0 to 1, got 1.5"),
        (lambda: Sometimes(-1, Noise()), "[Sometimes] expected p from 0 to 1"),
        (lambda: CLAHE(tiles=(0, 8)), "tiles, two whole numbers from 1 to 256"),
        (lambda: Normalize(0.5, 0), "std > 0"),
        (lambda: ANY["Normalize"]("a"), "mean, a number or one for each channel"),
        (lambda: Compose(Rotate), "transforms t(sample, stream), got <class"),
        (OneOf, "at least one transform"),
    ],
)
def test_wrong_arguments_are_refused(make, match):
    with pytest.raises(ArgumentError, match=re.escape(match)):
        make()


# ------------------------------------------------------------------------------ other people's pipelines
def test_a_pipeline_sees_channels_last_and_gives_them_back():
    seen = []

    def pipeline(image: Any) -> dict[str, Any]:
        seen.append(image.shape)
        assert image.flags.c_contiguous and image.flags.writeable
        return {"image": image[:5, :7], "other": 1}

    colours = np.concatenate([LEVELS, LEVELS, LEVELS])
    for image, shown, made in (
        (LEVELS, (40, 48), (1, 5, 7)),
        (LEVELS[0], (40, 48), (5, 7)),
        (colours, (40, 48, 3), (3, 5, 7)),
    ):
        out, label = Adapted(pipeline)((image, 2), stream())
        assert seen[-1] == shown and out.shape == made and label == 2 and np.array_equal(out, image[..., :5, :7])


def test_a_pipeline_can_be_reseeded():
    class Theirs:
        def __init__(self) -> None:
            self.random = np.random.default_rng()

        def seed(self, number: int) -> None:
            self.random = np.random.default_rng(number)

        def __call__(self, image: Any) -> dict[str, Any]:
            return {"image": image + self.random.random(image.shape)}

    theirs = Theirs()
    change = Adapted(theirs, reseed=theirs.seed)
    assert np.array_equal(change(VALUES, stream(1)), change(VALUES, stream(1)))
    assert not np.array_equal(change(VALUES, stream(1)), change(VALUES, stream(2)))


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda image: image, 'a pipeline that returns {"image": array}, got a ndarray'),
        (lambda image: {"mask": image}, "got a dict"),
        (lambda image: {"image": image.tolist()}, 'got a list as "image"'),
    ],
)
def test_a_pipeline_that_answers_otherwise_is_refused(answer, match):
    with pytest.raises(ArgumentError, match=re.escape(match)):
        Adapted(answer)(LEVELS, stream())
