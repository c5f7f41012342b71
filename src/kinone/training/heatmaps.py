"""Heat maps of films: where a network looked for a finding, drawn on the film."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kinone.data.image import Levels
from kinone.errors import ArgumentError
from kinone.formats.atomic import write_bytes
from kinone.training.gradcam import Heat, grad_cam, relative
from kinone.training.pictures import Pixels, enlarged, overlaid, png
from kinone.training.trained import Trained

_LARGEST = 1024  # pixels of the longer side of a picture that is written


def heat_of(trained: Trained, films: Sequence[Levels], finding: str, layer: str | None = None) -> Heat:
    """Grad-CAM of one finding over films, weighted place by place, at the network's size, in the units of the score."""
    if finding not in trained.classes:
        raise ArgumentError("heat", f"a finding among {', '.join(trained.classes)}", repr(finding))
    x = np.stack([trained.picture(film) for film in films])
    return grad_cam(trained.model, x, trained.classes.index(finding), layer, is_local=True)


def drawn(film: Levels, heat: Heat, longest: int = _LARGEST) -> Pixels:
    """Film and heat in one picture, as large as the film but for `longest`; never smaller than 256 pixels."""
    size = min(max(*film.shape, 256), longest)
    large = enlarged(film, size)
    return overlaid(large, enlarged(heat, (large.shape[0], large.shape[1])))


def write_heat(
    trained: Trained, film: Levels, findings: list[str], place: Path, name: str, layer: str | None = None
) -> list[Path]:
    """One PNG for each finding: `place` itself for a single one, if it ends in .png, else files in that folder."""
    is_file = place.suffix.lower() == ".png"
    made: list[Path] = []
    for finding in findings:
        if not is_file:
            file = place / f"{name}.{finding.replace(' ', '_')}.png"
        elif len(findings) == 1:
            file = place
        else:
            file = place.with_name(f"{place.stem}.{finding.replace(' ', '_')}.png")
        content = png(drawn(film, relative(heat_of(trained, [film], finding, layer))[0]))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(file, content)
        except OSError as error:
            raise ArgumentError("heat", f"a place for {file}", error.strerror or str(error)) from None
        made.append(file)
    return made
