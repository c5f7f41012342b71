"""Pictures for people: the colours of heat, films under it, PNG files that OpenCV reads back."""

import numpy as np
import pytest

from kinone.errors import ShapeError
from kinone.training.pictures import colours, enlarged, overlaid, png


def lightness(rgb):
    """L* of CIELAB."""
    c = rgb / 255.0
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_equal_steps_look_equally_large():
    steps = np.diff(lightness(colours(np.linspace(0, 1, 21))))
    assert (steps > 0).all() and steps.max() < 1.7 * steps.mean()


def test_files_are_read_back():
    cv2 = pytest.importorskip("cv2", reason="needs kinone[data]")
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3), (1, 1), (64, 33, 3)):
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        read = cv2.imdecode(np.frombuffer(png(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(read if len(shape) == 2 else read[..., ::-1], pixels)
    with pytest.raises(ShapeError, match="8-bit"):
        png(np.zeros((2, 2)))  # pyright: ignore[reportArgumentType]


def test_heat_covers_the_film_where_it_is():
    film = np.full((2, 2), 100, np.uint8)
    picture = overlaid(film, [[0, 0], [1, 0.25]])
    assert picture[0].tolist() == [[100] * 3] * 2
    assert picture[1, 0].tolist() == np.rint(0.28 * 100 + 0.72 * colours(1.0)).tolist()
    with pytest.raises(ShapeError, match="one shape"):
        overlaid(film, np.zeros((3, 3)))


def test_enlarged():
    ramp = np.array([[0, 100]], np.uint8)
    assert enlarged(ramp, 4).tolist() == [[0, 25, 75, 100]] * 2
    assert enlarged(np.ones((3, 2), np.float32), 6).shape == (6, 4)
    assert np.array_equal(enlarged(np.arange(9, dtype=np.uint8).reshape(3, 3), 3).ravel(), np.arange(9))
