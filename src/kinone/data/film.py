"""Synthetic chest films: an anatomy drawn from distances, and findings drawn into it by a radiologist's rules.

Coordinates: u from −1 (the image's left, the patient's right) to 1, v from −1 (top) to 1. A shape is a field of signed
distances, negative inside; `soft` makes a mask of it. Densities add up as attenuation does, and become gray levels at
the end. Only + − × ÷ √ and comparisons are used, whose results are the same on every machine.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]


@dataclass(frozen=True)
class Anatomy:
    """How one patient is built; every film of the patient shares it."""

    thorax: float = 0.80  # half the width of the chest inside, at its widest
    apex: float = -0.80  # height of the lungs' tops
    domes: tuple[float, float] = (0.42, 0.50)  # heights of the diaphragm, right and left
    heart: float = 0.46  # cardiothoracic ratio: the heart's width to the chest's
    rib_gap: float = 0.155
    rib_phase: float = 0.0
    vessels: tuple[tuple[float, float, float, float, float], ...] = ()  # from u, v to u, v, and a width
    tilt: float = 0.0


@dataclass(frozen=True)
class Sign:
    """One finding in one film: on which side (−1 the patient's right, 1 left, 0 both), where, how large, how dense."""

    name: str
    side: int = 1
    u: float = 0.5
    v: float = 0.0
    size: float = 0.1
    density: float = 0.2
    spots: tuple[tuple[float, float, float], ...] = field(default=())


def soft(distance: Field, width: float) -> Field:
    """1 inside, 0 outside, a smooth step of half that width on either side of the edge."""
    t = np.clip(0.5 - distance / (2 * width), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def disc(u: Field, v: Field, at: tuple[float, float], radii: tuple[float, float], edge: float) -> Field:
    """A filled ellipse with a soft edge."""
    x, y = (u - at[0]) / radii[0], (v - at[1]) / radii[1]
    return soft((np.sqrt(x * x + y * y) - 1) * min(radii), edge)


def line(u: Field, v: Field, ends: tuple[float, float, float, float], width: float, edge: float) -> Field:
    """A straight line that is thinner at its end."""
    au, av, bu, bv = ends
    du, dv = bu - au, bv - av
    t = np.clip(((u - au) * du + (v - av) * dv) / (du * du + dv * dv + 1e-9), 0.0, 1.0)
    x, y = u - au - t * du, v - av - t * dv
    return soft(np.sqrt(x * x + y * y) - width * (1 - 0.6 * t), edge)


class Film:
    """One film while it is drawn: its density, and the masks that findings keep to."""

    def __init__(self, size: int, anatomy: Anatomy, signs: dict[str, Sign]) -> None:
        step = ((np.arange(size, dtype=np.float32) * 2 + 1) / size - 1).astype(np.float32)
        self.anatomy, self.signs = anatomy, signs
        self.u = np.broadcast_to(step, (size, size)) + np.float32(anatomy.tilt) * step[:, None]
        self.v = np.ascontiguousarray(np.broadcast_to(step[:, None], (size, size)))
        self.side = np.abs(self.u)
        emphysema, collapse = signs.get("Emphysema"), signs.get("Atelectasis")
        drop = 0.17 if emphysema else 0.0  # air that cannot leave pushes the diaphragm down and flattens it
        domes = [anatomy.domes[0] + drop, anatomy.domes[1] + drop]
        if collapse:  # lost volume pulls it up
            domes[collapse.side > 0] -= 0.13
        self.flat = 0.3 if emphysema else 1.0
        self.domes = domes
        self.heart = np.zeros_like(self.u)
        self.lungs = {side: self._lung(side) for side in (-1, 1)}
        self.lung = self.lungs[-1] + self.lungs[1]
        self.density = self._chest() + self._heart()
        self.lung = self.lung * (1 - 0.8 * self.heart)
        self.lungs = {side: lung * (1 - 0.8 * self.heart) for side, lung in self.lungs.items()}
        for name, shadow in DRAWN.items():
            if name in signs:
                self.density += shadow(self, signs[name])

    # ------------------------------------------------------------------------------ anatomy
    def lateral(self) -> Field:
        """|u| of the chest wall at each height: narrow at the top, widest near the diaphragm."""
        y = np.clip((self.v - 0.5) / (0.52 - self.anatomy.apex), -1.0, 1.0)
        return self.anatomy.thorax * np.sqrt(1 - y * y * 0.94)

    def dome(self, side: int) -> Field:
        """The height of the diaphragm on that side: it arches between the heart and the chest wall."""
        x = (self.side - 0.40 * self.anatomy.thorax / 0.8) / 0.42
        return self.domes[side > 0] + self.flat * 0.24 * x * x

    def _lung(self, side: int) -> Field:
        below = self.v - self.dome(side)
        inner = (0.13 + 0.06 * np.clip(self.v, -1.0, 0.0) * -1) - self.u * side
        outer = self.u * side - self.lateral()
        top = self.anatomy.apex + 0.5 * (self.side - 0.4) * (self.side - 0.4) - self.v
        return soft(np.maximum(np.maximum(below, inner), np.maximum(outer, top)), 0.025)

    def _chest(self) -> Field:
        a, u, v, side = self.anatomy, self.u, self.v, self.side
        t = np.clip((v + 1.02) / 0.5, 0.0, 1.0)
        body = soft(side - (0.30 + 0.68 * t * t * (3 - 2 * t)), 0.05)
        density = 0.50 * body - 0.335 * self.lung * (1.12 if "Emphysema" in self.signs else 1.0)
        below = np.where(u < 0, self.dome(-1), self.dome(1))
        density += 0.09 * body * soft(below + 0.04 - v, 0.05) * (1.15 - 0.35 * side)  # liver and spleen
        density -= 0.09 * disc(u, v, (0.42, self.domes[1] + 0.17), (0.15, 0.08), 0.05)  # air in the stomach
        density += 0.13 * soft(side - 0.145, 0.06) * body  # mediastinum
        density += 0.05 * soft(side - 0.09, 0.03) * body  # spine
        phase = v / 0.135 - np.floor(v / 0.135)
        density += 0.03 * soft(side - 0.085, 0.02) * soft(np.abs(phase - 0.5) - 0.36, 0.08)  # vertebrae
        density -= 0.13 * soft(np.maximum(np.abs(u + 0.01) - 0.038, v + 0.30), 0.02)  # trachea
        density += 0.10 * disc(u, v, (0.17, -0.36), (0.075, 0.085), 0.03)  # aortic arch
        density += self._ribs() * body
        for s in (-1, 1):  # clavicles, hila and vessels
            density += 0.10 * line(u, v, (0.10 * s, -0.62, 0.78 * s, -0.80), 0.035, 0.015)
            density += 0.09 * disc(u, v, (0.20 * s, -0.06), (0.085, 0.16), 0.07)
        for *ends, width in a.vessels:
            self._stroke(density, (ends[0], ends[1], ends[2], ends[3]), width)
        return density

    def _stroke(self, density: Field, ends: tuple[float, float, float, float], width: float) -> None:
        """Add a vessel; nothing outside its own window is computed."""
        size, margin = len(density), width + 0.02
        low, high = (np.minimum(ends[:2], ends[2:]) - margin, np.maximum(ends[:2], ends[2:]) + margin)
        (left, top), (right, bottom) = (np.clip(((x + 1) * size / 2), 0, size).astype(int) for x in (low, high))
        window = (slice(top, bottom + 1), slice(left, right + 1))
        shadow = line(self.u[window], self.v[window], ends, width, 0.014)
        density[window] += 0.075 * shadow * self.lung[window]

    def _ribs(self) -> Field:
        a, side = self.anatomy, self.side
        inside = soft(side - self.lateral() - 0.02, 0.02)
        reach = soft(self.v - 0.62, 0.05) * soft(-0.86 - self.v, 0.03) * inside
        back = (self.v - 0.06 * side - 0.40 * side * side) / a.rib_gap + a.rib_phase
        front = (self.v + 0.75 * side - 0.2 * side * side) / (a.rib_gap * 1.12) + a.rib_phase * 0.7
        behind = soft(np.abs(back - np.floor(back) - 0.5) * a.rib_gap - 0.024, 0.012)
        before = soft(np.abs(front - np.floor(front) - 0.5) * a.rib_gap - 0.026, 0.016) * soft(0.40 - side, 0.06)
        wall = soft(np.abs(side - self.lateral() - 0.03) - 0.025, 0.02) * reach  # where ribs are seen along their edge
        return (0.065 * behind * soft(0.10 - side, 0.02) + 0.035 * before + 0.05 * wall) * reach

    def _heart(self) -> Field:
        ratio = self.signs["Cardiomegaly"].size if "Cardiomegaly" in self.signs else self.anatomy.heart
        half = ratio * self.anatomy.thorax * (0.9 if "Emphysema" in self.signs else 1.0)
        x, y = self.u - 0.25 * half, self.v - (self.domes[1] - 0.20)
        p, q = 0.86 * x + 0.51 * y, 0.86 * y - 0.51 * x  # the long axis points down to the patient's left
        r = np.sqrt((p / (1.04 * half)) * (p / (1.04 * half)) + (q / (0.78 * half)) * (q / (0.78 * half)))
        heart = soft((r - 1) * half, 0.03) * soft(self.v - self.domes[1] - 0.12, 0.04)
        self.heart = heart
        return 0.29 * heart * self.lung + 0.03 * heart

    # ------------------------------------------------------------------------------ findings
    def spots(self, sign: Sign, edge: float) -> Field:
        """Round shadows that run into one another."""
        shadow = np.zeros_like(self.u)
        for u, v, radius in sign.spots:
            shadow = np.maximum(shadow, disc(self.u, self.v, (u, v), (radius, radius * 0.9), edge))
        return shadow

    def atelectasis(self, s: Sign) -> Field:
        """Bands above a raised diaphragm."""
        bands = np.zeros_like(self.u)
        for u, v, width in s.spots:
            bands = np.maximum(bands, line(self.u, self.v, (s.side * u, v, s.side * (u + 0.42), v - 0.10), width, 0.02))
        base = soft(self.dome(s.side) - 0.12 - self.v, 0.10) * 0.5
        return s.density * np.maximum(bands, base) * self.lungs[s.side]

    def effusion(self, s: Sign) -> Field:
        """Fluid fills the angle and climbs the chest wall: a meniscus."""
        x = np.clip((self.u * s.side - 0.15) / (self.lateral() - 0.15), 0.0, 1.0)
        level = self.dome(s.side) + 0.10 - s.size * (0.55 + 0.9 * x * x * x * x)
        return s.density * soft(level - self.v, 0.035) * self.lungs[s.side]

    def infiltration(self, s: Sign) -> Field:
        """Ill-defined patches."""
        return s.density * self.spots(s, 0.09) * self.lung

    def mass(self, s: Sign) -> Field:
        """Round, well-defined, larger than 3 cm."""
        return s.density * disc(self.u, self.v, (s.u * s.side, s.v), (s.size, s.size * 0.92), 0.02) * self.lung

    def pneumonia(self, s: Sign) -> Field:
        """A cloudy lobe, in which air still shows the bronchi."""
        cloud = disc(self.u, self.v, (s.u * s.side, s.v), (s.size * 0.9, s.size), 0.13)
        for u, v, width in s.spots:
            cloud -= 0.45 * line(self.u, self.v, (0.18 * s.side, -0.02, s.side * u, v), width, 0.012)
        return s.density * np.clip(cloud, 0.0, 1.0) * self.lungs[s.side]

    def pneumothorax(self, s: Sign) -> Field:
        """Air outside the lung: black and without vessels, behind the fine line of the pleura."""
        x = (self.u * s.side - 0.30) / (self.anatomy.thorax * (0.52 - s.size))
        y = (self.v - 0.10) / (0.80 - s.size)
        r = np.sqrt(x * x + y * y) - 1
        edge = soft(np.abs(r) - 0.02, 0.015) * 0.13
        return (edge - s.density * soft(-r, 0.02)) * self.lungs[s.side]

    def consolidation(self, s: Sign) -> Field:
        """A dense lobe that ends at its fissure."""
        fissure = self.v - s.v - 0.10 * (self.u * s.side - 0.4)
        within = soft(np.maximum(-fissure, fissure - s.size) if s.u > 0 else fissure, 0.02)
        return s.density * within * self.lungs[s.side]

    def edema(self, s: Sign) -> Field:
        """Wings of a bat around both hila, and Kerley's lines at the edge."""
        wings = np.maximum(*(disc(self.u, self.v, (0.30 * k, -0.05), (0.30, 0.42), 0.16) for k in (-1, 1)))
        phase = self.v / 0.055 - np.floor(self.v / 0.055)
        kerley = soft(np.abs(phase - 0.5) - 0.16, 0.12) * soft(self.lateral() - 0.13 - self.side, 0.02)
        low = soft(0.12 - self.v, 0.08)
        return (s.density * wings + 0.09 * kerley * low) * self.lung

    def fibrosis(self, s: Sign) -> Field:
        """A net of lines, densest at the base and at the edge."""
        bend = 0.05 * self.u * self.v + 0.10 * self.v * self.v
        p, q = (self.u + 0.8 * self.v + bend) / s.size, (self.u - 0.7 * self.v + 1.7 * bend) / (s.size * 0.83)
        net = np.maximum(*(soft(np.abs(x - np.floor(x) - 0.5) - 0.10, 0.12) for x in (p, q)))
        where = np.maximum(soft(0.12 - self.v, 0.25), soft(self.lateral() - 0.16 - self.side, 0.08))
        return s.density * net * where * self.lung

    def pleural_thickening(self, s: Sign) -> Field:
        """A band along the chest wall, and over the apex."""
        depth = self.lateral() - self.u * s.side
        band = soft(depth - s.size, 0.02) * soft(self.v - 0.25, 0.08)
        cap = soft(self.v - self.anatomy.apex - s.size * 1.8, 0.03)
        return s.density * np.maximum(band, cap) * self.lungs[s.side]

    def hernia(self, s: Sign) -> Field:
        """A part of the stomach behind the heart: a ring with air and a level of fluid in it."""
        at, radii = (0.10 * s.side, self.domes[1] - 0.10), (s.size, s.size * 0.85)
        inside = disc(self.u, self.v, at, radii, 0.02)
        air = inside * soft(self.v - at[1], 0.015)
        wall = inside - disc(self.u, self.v, at, (radii[0] * 0.82, radii[1] * 0.80), 0.02)
        return s.density * (wall * 0.9 - air * 0.8 + (inside - air) * 0.5)


DRAWN: dict[str, Any] = {
    "Atelectasis": Film.atelectasis, "Effusion": Film.effusion, "Infiltration": Film.infiltration, "Mass": Film.mass,
    "Nodule": Film.mass, "Pneumonia": Film.pneumonia, "Pneumothorax": Film.pneumothorax,
    "Consolidation": Film.consolidation, "Edema": Film.edema, "Fibrosis": Film.fibrosis,
    "Pleural_Thickening": Film.pleural_thickening, "Hernia": Film.hernia,
}  # fmt: skip
"""The findings that add a shadow; cardiomegaly and emphysema change the anatomy itself."""


def gray(density: Field, coarse: Field, grain: Field, exposure: Any) -> NDArray[np.uint8]:
    """The film as 8-bit levels: density under a window, uneven exposure, grain."""
    level = (density + 0.05 * (coarse - 0.5) * np.clip(density * 4, 0.0, 1.0) + 0.035 * (grain - 0.5)) * exposure
    level = np.clip(level * 1.22 + 0.03, 0.0, 1.0)
    level = level * (1.35 - 0.35 * level)  # film is not linear
    return np.floor(level * 255 + 0.5).astype(np.uint8)


def blown_up(grid: Field, size: int) -> Field:
    """A small grid of numbers, drawn large with linear transitions."""
    n = len(grid) - 1
    at = (np.arange(size, dtype=np.float32) + 0.5) * n / size
    low = np.minimum(at.astype(np.int64), n - 1)
    t = at - low.astype(np.float32)
    rows = grid[low] * (1 - t)[:, None] + grid[low + 1] * t[:, None]
    return rows[:, low] * (1 - t) + rows[:, low + 1] * t
