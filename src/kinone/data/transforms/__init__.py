"""Changes of images, at random within named ranges: `DataLoader(films, transform=Compose(Rotate(10), Noise(0.02)))`.

A transform is called as t(sample, stream). An image is (H, W) or (C, H, W), of 8-bit levels or of floating values from
0 to 1; it is the sample, or the first of a tuple, or the entry "image" of a dict, and all else passes as it is. What is
drawn comes from the stream alone, which a loader keys by (seed, epoch, sample), and the arithmetic is exact: the same
bits for any number of workers, on any machine.
"""

from kinone.data.transforms.base import Transform
from kinone.data.transforms.geometry import Affine, HorizontalFlip, Resize, ResizedCrop, Rotate, VerticalFlip
from kinone.data.transforms.pipeline import Adapted, Compose, OneOf, Sometimes
from kinone.data.transforms.tone import CLAHE, BrightnessContrast, Noise, Normalize

__all__ = [
    "CLAHE", "Adapted", "Affine", "BrightnessContrast", "Compose", "HorizontalFlip", "Noise", "Normalize", "OneOf",
    "Resize", "ResizedCrop", "Rotate", "Sometimes", "Transform", "VerticalFlip",
]  # fmt: skip

TRANSFORMS: dict[str, type[Transform]] = {
    kind.__name__: kind
    for kind in (Affine, BrightnessContrast, CLAHE, HorizontalFlip, Noise, Normalize, Resize, ResizedCrop, Rotate,
                 VerticalFlip)
}  # fmt: skip
"""By name, those whose fields are plain values: a configuration can hold them."""
