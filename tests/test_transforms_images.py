"""Transforms of images: exact, within their ranges, and a function of (seed, epoch, sample) alone."""

import hashlib
import pickle
from fractions import Fraction
from math import cos, radians, sin
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from film_samples import LEVELS, VALUES, film, stream
from kinone.data.chestxray import ChestFilms
from kinone.data.demo import DemoSpec, make_demo
from kinone.data.loader import DataLoader
from kinone.data.transforms import (
    CLAHE,
    TRANSFORMS,
    Affine,
    BrightnessContrast,
    Compose,
    HorizontalFlip,
    Noise,
    Normalize,
    OneOf,
    Resize,
    ResizedCrop,
    Rotate,
    Sometimes,
    VerticalFlip,
)  # fmt: skip
from kinone.data.transforms.equalize import equalized
from kinone.data.transforms.warp import cos_sin, moved, scaled, taps, turned
from kinone.errors import ShapeError

ALL = {
    "Affine": Affine(degrees=15, down=0.1, across=0.2, scale=(0.8, 1.3), shear=10),
    "BrightnessContrast": BrightnessContrast(),
    "CLAHE": CLAHE(tiles=(4, 3)),
    "HorizontalFlip": HorizontalFlip(p=1),
    "Noise": Noise((0.02, 0.1)),
    "Normalize": Normalize(0.4, 0.3),
    "Resize": Resize((30, 61)),
    "ResizedCrop": ResizedCrop(32),
    "Rotate": Rotate(30, fill=None),
    "VerticalFlip": VerticalFlip(p=1),
}
PINNED = {  # uint8, float32, float64
    "Affine": ["ca5b28c40d2cc9fb", "e21a0403b1808b19", "ff3cb49471c8c8af"],
    "BrightnessContrast": ["73a0c76e93b3ce62", "718890d8bfd4c1cb", "f0fccaeba97c224b"],
    "CLAHE": ["ff6c3ad3dd1332d1", "a49a5569ccd35d83", "8622b8150f1450f6"],
    "HorizontalFlip": ["edf270da711fa203", "76492d19619cc8b3", "76e0f9c3118adf2d"],
    "Noise": ["16125ffda8f6f63b", "aaedc6907b552edb", "c0b58ab53ca8ec11"],
    "Normalize": ["9d447ec07447b6fc", "9d447ec07447b6fc", "9d447ec07447b6fc"],
    "Resize": ["8a4c0064c3bd8c6c", "cfd81e62a959783c", "f4d05e94d3c999fe"],
    "ResizedCrop": ["dd204adbc614baa0", "81d668dac7259ca8", "83525fe8a6630d3a"],
    "Rotate": ["764b615961f099ea", "5c1b50e45c4e1e00", "80bd895b8984468a"],
    "VerticalFlip": ["82769f2505762bb0", "91feedaffa9230cb", "6c900589afc642c3"],
}
DTYPES = pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])


def of(dtype: Any, levels: Any = LEVELS) -> Any:
    return levels if dtype == np.uint8 else levels.astype(dtype) / dtype(255)


# ------------------------------------------------------------------------------ bits
def digest(array: Any) -> str:
    described = f"{array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()
    return hashlib.sha256(described).hexdigest()[:16]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_bits_are_pinned(name):
    made = [digest(ALL[name](of(dtype), stream(3))) for dtype in (np.uint8, np.float32, np.float64)]
    assert made == PINNED[name]


def test_every_transform_is_pinned():
    assert list(TRANSFORMS) == list(PINNED) == list(ALL)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    made = ChestFilms(make_demo(tmp_path_factory.mktemp("data") / "demo", DemoSpec(patients=10, size=48)), size=40)
    made.prepare()
    return made


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_no_bit(films, workers):
    change = Compose(ResizedCrop(32), HorizontalFlip(), OneOf(Rotate(), Affine(5)), BrightnessContrast(),
                     Sometimes(0.5, CLAHE()), Noise(), Normalize())  # fmt: skip

    def epochs(**more: Any) -> list[str]:
        loader = DataLoader(films, batch_size=5, shuffle=True, seed=2, transform=change, **more)
        return [digest(x) for _ in range(2) for x, _ in loader]

    assert epochs(workers=workers) == epochs()


def test_a_sample_changes_with_seed_and_epoch_and_not_with_the_batch(films):
    change = Compose(ResizedCrop(32), Rotate())

    def sample(seed: int, epoch: int, batch_size: int) -> str:
        loader = DataLoader(films, batch_size=batch_size, seed=seed, transform=change)
        return digest([np.concatenate([x for x, _ in loader]) for _ in range(epoch + 1)][-1][4])

    assert sample(0, 0, 3) == sample(0, 0, 7)
    assert len({sample(seed, epoch, 3) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_one_kind_more_shifts_no_others_numbers():
    one, two = Compose(Noise(), Rotate(20)), Compose(Noise(), HorizontalFlip(p=0), Rotate(20))
    assert np.array_equal(one(LEVELS, stream()), two(LEVELS, stream()))
    twice = Compose(Rotate((5, 40)), Rotate((-40, -5)))(VALUES, stream())
    assert not np.array_equal(twice, Compose(Rotate((5, 40)))(VALUES, stream()))


def test_a_stream_goes_on():
    source = stream()
    first, second = (Compose(Rotate(20))(LEVELS, source) for _ in range(2))
    assert not np.array_equal(first, second)


def test_nothing_is_changed_in_place():
    for change in ALL.values():
        for dtype in (np.uint8, np.float32, np.float64):
            image = of(dtype).copy()
            image.flags.writeable = False
            change((image, 1), stream())


def test_transforms_are_sent_to_processes_compared_and_shown():
    change = Compose(ResizedCrop(32), OneOf(Rotate(10), CLAHE()), Sometimes(0.5, Noise(0.1)), Normalize([0.5], [0.2]))
    assert pickle.loads(pickle.dumps(change)) == change and hash(change) == hash(change)
    names = {kind.__name__: kind for kind in (Compose, OneOf, Sometimes)}
    assert eval(repr(change), {**TRANSFORMS, **names}) == change
    assert Rotate(10) == Rotate((-10, 10)) and Noise(0.1) == Noise((0, 0.1)) != Noise(0.2)


# ------------------------------------------------------------------------------ identities
@DTYPES
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(0, 99))
def test_ranges_that_allow_nothing_change_nothing(dtype, rows, columns, channels, seed):
    image = np.concatenate([of(dtype, film(rows, columns, seed + c)) for c in range(channels)])
    for change in (
        Resize((rows, columns)), HorizontalFlip(p=0), VerticalFlip(p=0), Rotate(0), Rotate(0, fill=None), Rotate(360),
        Affine(), Affine(fill=None), BrightnessContrast(0, 1), Noise(0), Compose(), Sometimes(0, Noise((1, 1))),
        ResizedCrop((rows, columns), scale=1, ratio=columns / rows),
    ):  # fmt: skip
        if change == Rotate(360):
            change = Rotate((360, 360))
        for given_image in (image, image[0]):
            assert np.array_equal(change(given_image, stream(seed)), given_image), change
    if dtype == np.float32:
        assert np.array_equal(Normalize(0, 1)(image, stream()), image)


@DTYPES
@given(st.integers(1, 20), st.integers(1, 20))
def test_a_flip_twice_is_none(dtype, rows, columns):
    image = of(dtype, film(rows, columns))
    for flip, expected in ((HorizontalFlip(p=1), image[..., ::-1]), (VerticalFlip(p=1), image[..., ::-1, :])):
        once = flip(image, stream())
        assert np.array_equal(once, expected) and np.array_equal(flip(once, stream()), image)


@DTYPES
@pytest.mark.parametrize("quarters", [-3, -1, 1, 2, 3, 4])
def test_quarter_turns_are_exact(dtype, quarters):
    image = of(dtype, film(21, 21))
    made = Rotate((90 * quarters, 90 * quarters), fill=0.3)(image, stream())
    assert np.array_equal(made, np.rot90(image, quarters, (1, 2)))


@DTYPES
def test_whole_steps_are_exact(dtype):
    image = of(dtype)
    rows, columns = image.shape[1:]
    made = Affine(down=(3 / rows, 3 / rows), across=(-5 / columns, -5 / columns), fill=1)(image, stream())
    assert np.array_equal(made[:, 3:, :-5], image[:, :-3, 5:])
    full = 255 if dtype == np.uint8 else 1
    assert (made[:, :3] == full).all() and (made[:, :, -5:] == full).all()
    made = Affine(down=(3 / rows, 3 / rows), fill=None)(image, stream())
    assert (made[:, :3] == image[:, :1]).all()


# ------------------------------------------------------------------------------ ranges
@DTYPES
@given(st.integers(1, 24), st.integers(1, 24), st.integers(0, 10**6))
def test_what_comes_out_is_an_image(dtype, rows, columns, seed):
    image = np.concatenate([of(dtype, film(rows, columns, seed + c)) for c in range(2)])
    full = 255 if dtype == np.uint8 else 1
    for name, change in ALL.items():
        made = change((image, "label"), stream(seed))
        assert type(made) is tuple and made[1] == "label"
        if name == "Normalize":
            assert made[0].dtype == np.float32
            continue
        assert made[0].dtype == dtype and made[0].min() >= 0 and made[0].max() <= full, name
        if "Resize" not in name:
            assert made[0].shape == image.shape, name


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10**6), st.floats(0.05, 1), st.floats(0.3, 3))
def test_parts_have_the_area_and_ratio_asked_for(rows, columns, seed, least, narrow):
    crop = ResizedCrop(8, scale=(least, 1), ratio=(narrow, 1.5 * narrow))
    top, left, height, width = crop.part((rows, columns), stream(seed))
    assert 0 <= top <= top + height <= rows and 0 <= left <= left + width <= columns and height and width
    if min(height, width) > 20 and (height, width) not in ((rows, width), (height, columns)):
        assert least * 0.93 <= height * width / (rows * columns) <= 1
        assert narrow * 0.94 <= width / height <= 1.6 * narrow


def test_parts_come_from_everywhere():
    parts = np.array([ResizedCrop(8, scale=(0.1, 1)).part((60, 60), stream(seed)) for seed in range(400)])
    assert parts[:, 0].min() == parts[:, 1].min() == 0 and (parts[:, :2] + parts[:, 2:]).max() == 60
    areas = parts[:, 2] * parts[:, 3] / 3600
    assert areas.min() < 0.13 and areas.max() > 0.9 and 0.4 < areas.mean() < 0.6
    assert ResizedCrop(8, ratio=(30, 40)).part((20, 30), stream()) == (9, 0, 1, 30), "nothing fits: the middle"


def test_draws_fill_their_ranges():
    flat = np.full((1, 1, 1), 0.5)
    levels = np.array([BrightnessContrast((-0.2, 0.3), 1)(flat, stream(seed)).item() for seed in range(500)]) - 0.5
    assert -0.2 <= levels.min() < -0.19 and 0.29 < levels.max() <= 0.3 and abs(levels.mean() - 0.05) < 0.02
    slopes = [BrightnessContrast(0, (0.5, 2))(np.array([[0.5, 0.6]]), stream(seed)) for seed in range(500)]
    slopes = np.array([(s[0, 1] - s[0, 0]) / 0.1 for s in slopes])
    assert 0.5 - 1e-9 <= slopes.min() < 0.52 and 1.98 < slopes.max() <= 2 + 1e-9
    flips = sum(np.array_equal(HorizontalFlip(p=0.3)(LEVELS, stream(seed)), LEVELS[..., ::-1]) for seed in range(500))
    assert 120 < flips < 180
    chosen = [int(OneOf(Noise(0), Resize(8), Resize(9))(LEVELS, stream(seed)).shape[1]) for seed in range(300)]
    assert all(75 < chosen.count(size) < 125 for size in (40, 8, 9))
    noisy = Noise((0.1, 0.1))(np.full((1, 200, 200), 0.5, np.float32), stream())
    assert abs(noisy.std() - 0.1) < 0.002 and abs(noisy.mean() - 0.5) < 0.002


# ------------------------------------------------------------------------------ arithmetic
def test_angles_are_right_to_the_last_bit_or_so():
    for degrees in [*range(-720, 721), *np.linspace(-400, 400, 999).tolist()]:
        assert np.allclose(cos_sin(degrees), (cos(radians(degrees)), sin(radians(degrees))), rtol=0, atol=4e-15)


@given(st.floats(-180, 180), st.floats(0.5, 2), st.floats(-40, 40), st.floats(-5, 5), st.floats(-5, 5))
def test_moving_is_bilinear(degrees, scale, shear, down, across):
    """Against the formula in float64, whose places differ by what lies behind 8 bits."""
    plane = np.add.outer(np.arange(17) * 3.0, np.arange(23) * 2.0) + 10.0 * (np.arange(23) % 5 == 2)
    matrix = turned(degrees, scale, shear)
    back = np.linalg.inv(np.array(matrix))
    padded = np.pad(plane, 40)
    made = moved(plane, matrix, (down, across))
    for i, j in ((8, 11), (3, 20), (16, 0), (0, 0), (12, 5)):
        y, x = back @ (np.array([i - 8, j - 11]) - (down, across)) + (48, 51)
        if not (0 < y < 95 and 0 < x < 101):
            assert made[i, j] == 0
            continue
        r, c = int(y), int(x)
        corners = padded[r : r + 2, c : c + 2]
        expected = np.array([1 - (y - r), y - r]) @ corners @ np.array([1 - (x - c), x - c])
        assert abs(made[i, j] - expected) <= (padded.max() * 2) / 256


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))
def test_scaling_weighs_by_distance(rows, columns, new_rows, new_columns, seed):
    levels = film(rows, columns, seed)[0]

    def weights(i: int, n: int, count: int) -> list[Fraction]:
        centre, reach = Fraction(2 * i + 1, 2 * count) * n - Fraction(1, 2), max(Fraction(n, count), Fraction(1))
        if n <= count:
            centre = min(max(centre, Fraction(0)), Fraction(n - 1))
        near = [max(Fraction(0), 1 - abs(k - centre) / reach) for k in range(n)]
        return [w / sum(near) for w in near]

    made, floating = scaled(levels, new_rows, new_columns), scaled(levels / 255, new_rows, new_columns)
    for i, j in ((0, 0), (new_rows - 1, new_columns // 2), (new_rows // 2, new_columns - 1)):
        a, b = weights(i, rows, new_rows), weights(j, columns, new_columns)
        exact = float(sum(a[r] * b[c] * int(levels[r, c]) for r, c in np.ndindex(rows, columns)))
        assert abs(made[i, j] - exact) <= 0.5 + 0.005 and abs(floating[i, j] * 255 - exact) < 0.005


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_weights_are_whole(n, count):
    at, weights = taps(n, count)
    assert (weights.sum(0) == 1 << 20).all() and (weights >= 0).all() and at.min() >= 0 and at.max() < n


def test_scaling_keeps_what_is_even():
    for value in (0, 1, 77, 255):
        assert (scaled(np.full((2, 50, 31), value, np.uint8), 17, 90) == value).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8), st.integers(1, 8), st.floats(0, 20))
def test_clahe_is_opencvs_to_a_level(rows, columns, down, across, limit):
    cv2: Any = pytest.importorskip("cv2", reason="OpenCV is not installed")
    levels = film(rows, columns)[0]
    if (rows % down == 0) != (columns % across == 0):
        columns = columns // across * across or across  # where one divides, OpenCV adds a tile to it for the other
        rows = rows // down * down or down
        levels = film(rows, columns)[0]
    theirs = cv2.createCLAHE(max(limit, 1e-9), (across, down)).apply(levels)
    ours = equalized(levels, max(limit, 1e-9), (down, across))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_clahe_evens_out():
    dark = (film(64, 64)[0] // 4).astype(np.uint8)
    made = CLAHE((4, 4))(dark, stream())
    assert dark.max() < 64 and made.max() > 150 and made.std() > 2 * dark.std()
    floating = CLAHE((4, 4))(dark.astype(np.float32) / np.float32(255), stream())
    assert np.array_equal(floating, made.astype(np.float32) / np.float32(255))


def test_normalize_has_a_number_or_one_for_each_channel():
    image = np.full((3, 2, 2), 255, np.uint8)
    assert Normalize((0.5, 0.25, 0), (0.5, 0.25, 2))(image, stream())[:, 0, 0].tolist() == [1, 3, 0.5]
    assert Normalize(0.5, 0.5)(image[0], stream()).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ShapeError, match=r"mean for 2 channels, got an image of shape \(3, 2, 2\)"):
        Normalize((0.5, 0.5), 1)(image, stream())
