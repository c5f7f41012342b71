"""Transforms of transforms: one after the other, now and then, one of several, and other people's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kinone.data.transforms.base import Transform, checked, drawn
from kinone.errors import ArgumentError
from kinone.random import Stream


@dataclass(frozen=True, init=False, repr=False)
class Compose(Transform):
    """One transform after the other. Each draws from a stream of its own, so adding a kind shifts no other's numbers.

    >>> from kinone.data.transforms import HorizontalFlip, Normalize, Resize
    >>> film = np.full((1, 4, 4), 0.5, np.float32)
    >>> Compose(HorizontalFlip(), Resize(2), Normalize(0.5, 0.25))(film, Stream("example")).tolist()
    [[[0.0, 0.0], [0.0, 0.0]]]
    """

    transforms: tuple[Any, ...]

    def __init__(self, *transforms: Any) -> None:
        if len(transforms) == 1 and isinstance(transforms[0], list | tuple):
            transforms = tuple(transforms[0])
        wrong = [t for t in transforms if not callable(t) or isinstance(t, type)]
        if wrong:
            hint = "an f(image=…) → dict goes in as Adapted(f)."
            raise ArgumentError(type(self).__name__, "transforms t(sample, stream)", repr(wrong[0]), hint=hint)
        object.__setattr__(self, "transforms", transforms)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.transforms))})"

    def __call__(self, sample: Any, stream: Stream) -> Any:
        seen: dict[str, int] = {}
        for transform in self.transforms:
            name = getattr(transform, "__name__", type(transform).__name__)
            seen[name] = seen.get(name, 0) + 1
            sample = transform(sample, Stream(f"{stream.name}/{name}{seen[name]}", stream.seed, stream.step))
        stream.step += 1
        return sample


@dataclass(frozen=True)
class Sometimes(Transform):
    """The transform with probability p, and otherwise nothing."""

    p: float
    transform: Any

    def __call__(self, sample: Any, stream: Stream) -> Any:
        return self.transform(sample, stream) if drawn(stream, (0, 1))[0] < self.p else sample


@dataclass(frozen=True, init=False, repr=False)
class OneOf(Compose):
    """One of the transforms, all equally likely."""

    def __init__(self, *transforms: Any) -> None:
        super().__init__(*transforms)
        if not self.transforms:
            raise ArgumentError("OneOf", "at least one transform", "none")

    def __call__(self, sample: Any, stream: Stream) -> Any:
        return self.transforms[int(stream.integers(1, low=0, high=len(self.transforms))[0])](sample, stream)


@dataclass(frozen=True)
class Adapted(Transform):
    """Any pipeline f(image=…) → {"image": …}, as Albumentations' are: it sees (H, W) or (H, W, C).

    Its randomness is its own, and so a run with it replays only if that does. `reseed` is called before each sample
    with a number of the stream, so that it depends on (seed, epoch, sample): Adapted(f, reseed=f.set_random_seed).

    >>> halved = Adapted(lambda image: {"image": image[::2, ::2]})
    >>> halved((np.zeros((1, 4, 4), np.float32), 3), Stream("example"))[0].shape
    (1, 2, 2)
    """

    pipeline: Callable[..., Any]
    reseed: Callable[[int], Any] | None = None

    def apply(self, image: Any, stream: Stream) -> Any:
        if self.reseed is not None:
            self.reseed(int(stream.integers(1, low=0, high=2**31)[0]))
        is_single = image.ndim == 3 and len(image) == 1  # gray is (H, W) to most pipelines
        given = image[0] if is_single else np.moveaxis(image, 0, -1) if image.ndim == 3 else image
        answer = self.pipeline(image=np.array(given, order="C"))
        made = answer.get("image") if isinstance(answer, dict) else None
        if not isinstance(made, np.ndarray):
            got = f"a {type(answer).__name__}" if made is None else f'a {type(made).__name__} as "image"'
            raise ArgumentError("Adapted", 'a pipeline that returns {"image": array}', got)
        if is_single:
            made = made[None] if made.ndim == 2 else np.moveaxis(made, -1, 0)
        elif image.ndim == 3:
            made = np.moveaxis(made, -1, 0)
        return checked("Adapted", np.ascontiguousarray(made))
