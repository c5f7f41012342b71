"""Where the boxes of a graph stand: layers from the top down, few crossings, straight trunks.

Sugiyama's method: the longest path gives a box its layer; an edge over several layers gets a bend in each one between
(one chain of bends for all edges out of a port, so that they run together); barycentres order each layer; and x comes
from least squares, which keep a box near its neighbours, under the condition that nobody overlaps. All in plain
Python, in the same order each time: equal graphs give equal pictures.
"""

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Port = tuple[int, int]  # (box, number of its output)
GAP = 26.0  # between neighbours in a layer
_STRAIGHT = 1e5  # how much dearer a bend in a trunk is than one in a side branch


@dataclass
class Layout:
    """Boxes 0 … n−1 come first, then the bends; `bends` holds those of each port's chain, from the top down."""

    layers: list[list[int]]
    layer: list[int]
    x: list[float]
    bends: dict[Port, list[int]]


def arrange(halves: Sequence[tuple[float, float]], edges: Sequence[tuple[Port, int]], loose: Sequence[bool]) -> Layout:
    """Place boxes that reach `halves[i]` to the left and to the right of their x; an edge is ((box, port), box).

    Boxes that are `loose` (parameters, constants), and what is computed from such alone, stand beside the trunk.
    """
    n = len(halves)
    sources: list[list[int]] = [[] for _ in range(n)]
    for (source, _), target in edges:
        sources[target].append(source)
    depth = _depths(sources)
    order = sorted(range(n), key=lambda box: depth[box])
    is_loose = list(loose)
    for box in order:
        is_loose[box] = all(is_loose[source] for source in sources[box]) if sources[box] else loose[box]
    layer = _lowered(order, depth, sources)
    layers: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for box in sorted(range(n), key=lambda box: is_loose[box]):
        layers[layer[box]].append(box)
    above: list[list[tuple[int, float]]] = [[] for _ in range(n)]
    bends: dict[Port, list[int]] = {}
    for (source, port), target in sorted(edges, key=lambda edge: layer[edge[1]]):
        chain = bends.setdefault((source, port), [])
        while layer[source] + len(chain) + 1 < layer[target]:
            layers[layer[source] + len(chain) + 1].append(len(above))
            layer.append(layer[source] + len(chain) + 1)
            above.append([(chain[-1], _STRAIGHT) if chain else (source, 1.0)])
            chain.append(len(above) - 1)
        last = layer[target] - layer[source] - 1
        above[target].append((chain[last - 1] if last else source, 1.0))
    for box in range(n):
        trunk = _trunk(sources[box], depth, is_loose)
        above[box] = [(u, _STRAIGHT if u == trunk else weight) for u, weight in above[box]]
    below: list[list[tuple[int, float]]] = [[] for _ in above]
    for v, links in enumerate(above):
        for u, weight in links:
            below[u].append((v, weight))
    layers = _ordered(layers, above, below)
    sides = [*halves, *[(3.0, 3.0)] * (len(above) - n)]
    return Layout(layers, layer, _coordinates(layers, above, below, sides), bends)


def _depths(sources: list[list[int]]) -> list[int]:
    """The length of the longest path down to each box."""
    users: list[list[int]] = [[] for _ in sources]
    for box, above in enumerate(sources):
        for source in above:
            users[source].append(box)
    waiting = [len(above) for above in sources]
    depth = [0] * len(sources)
    ready = [box for box, count in enumerate(waiting) if not count]
    for box in ready:  # grows as it runs
        for user in users[box]:
            depth[user] = max(depth[user], depth[box] + 1)
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    return depth


def _lowered(order: list[int], depth: list[int], sources: list[list[int]]) -> list[int]:
    """The layers: every box just above the first one that uses it, a result that nobody uses at its depth.

    So what waits (a parameter, one step's share of a sequence) waits before it is computed, not after.
    """
    layer = list(depth)
    first_use = [len(order)] * len(order)
    for box in reversed(order):
        if first_use[box] < len(order):
            layer[box] = first_use[box] - 1
        for source in sources[box]:
            first_use[source] = min(first_use[source], layer[box])
    return layer


def _trunk(above: list[int], depth: list[int], is_loose: list[bool]) -> int | None:
    """The one neighbour above from which a box hangs straight: the deepest, if one is, loose ones only at need."""
    candidates = {box for box in above if not is_loose[box]} or set(above)
    deepest = [box for box in candidates if depth[box] == max(depth[b] for b in candidates)]
    return deepest[0] if len(deepest) == 1 else None


def _ordered(
    layers: list[list[int]], above: list[list[tuple[int, float]]], below: list[list[tuple[int, float]]]
) -> list[list[int]]:
    """The order with the fewest crossings that sweeps of barycentres, down and up in turn, come across."""
    layers = [list(row) for row in layers]
    best, fewest = [list(row) for row in layers], _crossings(layers, below)
    beside: dict[int, int] = {}  # a box with nothing above it: the trunk above the box that uses it
    for v, links in enumerate(below):
        if links and not above[v]:
            beside.update((v, u) for u, weight in above[links[0][0]] if weight == _STRAIGHT and u != v)
    stale = 0
    for sweep in range(24):
        if not fewest or stale > 5:
            break
        down = sweep % 2 == 0
        rows = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        for i in rows:
            place = {v: k for k, v in enumerate(layers[i - 1 if down else i + 1])}
            links = above if down else below
            own = {v: k for k, v in enumerate(layers[i])}
            scale = len(place) / max(len(own), 1)

            centres = {v: sum(place[u] for u, _ in links[v]) / len(links[v]) for v in layers[i] if links[v]}
            for v in layers[i]:
                if v not in centres:  # it keeps to the right of its neighbour on the trunk, or where it is
                    centres[v] = centres[beside[v]] + 0.25 if beside.get(v) in centres else own[v] * scale
            layers[i].sort(key=lambda v: (centres[v], v in beside))
        crossings = _crossings(layers, below)
        stale += 1
        if crossings < fewest:
            best, fewest, stale = [list(row) for row in layers], crossings, 0
    return best


def _crossings(layers: list[list[int]], below: list[list[tuple[int, float]]]) -> int:
    total = 0
    for row, under in pairwise(layers):
        place = {v: k for k, v in enumerate(under)}
        ends: list[int] = []
        for u in row:
            mine = sorted(place[v] for v, _ in below[u])
            total += sum(len(ends) - bisect_right(ends, end) for end in mine)
            for end in mine:
                insort(ends, end)
    return total


def _coordinates(
    layers: list[list[int]],
    above: list[list[tuple[int, float]]],
    below: list[list[tuple[int, float]]],
    sides: Sequence[tuple[float, float]],
) -> list[float]:
    x = [0.0] * len(above)
    for row in layers:
        wanted = [0.0] * len(row)
        for v, at in zip(row, spread(wanted, [1.0] * len(row), _gaps(row, sides)), strict=True):
            x[v] = at
    for sweep in range(40):
        down = sweep % 2 == 0
        settled = sweep > 30  # by then both neighbours count, whichever way the sweep goes
        for row in layers if down else reversed(layers):
            links = [above[v] + below[v] if settled else (above if down else below)[v] for v in row]
            weights = [sum(weight for _, weight in link) for link in links]
            wanted = [
                sum(x[u] * weight for u, weight in link) / total if total else x[v]
                for v, link, total in zip(row, links, weights, strict=True)
            ]
            # A box without neighbours on this side makes way, but stays where it is if nobody pushes.
            for v, at in zip(row, spread(wanted, [w or 0.05 for w in weights], _gaps(row, sides)), strict=True):
                x[v] = at
    for _ in range(3):
        _straighten(x, layers, above, sides)
    left = min((x[v] - sides[v][0] for v in range(len(x))), default=0.0)
    return [at - left for at in x]


def _straighten(
    x: list[float], layers: list[list[int]], above: list[list[tuple[int, float]]], sides: Sequence[tuple[float, float]]
) -> None:
    """Move each run of trunk or bends to one x, where its neighbours leave room for that."""
    parent = {v: u for v, links in enumerate(above) for u, weight in links if weight == _STRAIGHT}
    children: dict[int, list[int]] = {}
    for v, u in parent.items():
        children.setdefault(u, []).append(v)
    pairs = [(a, b, gap) for row in layers for a, b, gap in zip(row, row[1:], _gaps(row, sides), strict=False)]
    left = {b: (a, gap) for a, b, gap in pairs}
    right = {a: (b, gap) for a, b, gap in pairs}
    for v in range(len(above)):
        if v in parent and len(children[parent[v]]) == 1:
            continue
        run = [v]
        while len(following := children.get(run[-1], [])) == 1:
            run += following
        low = max((x[left[u][0]] + left[u][1] for u in run if u in left), default=-math.inf)
        high = min((x[right[u][0]] - right[u][1] for u in run if u in right), default=math.inf)
        if low <= high:
            middle = sorted(x[u] for u in run)[len(run) // 2]
            for u in run:
                x[u] = min(max(middle, low), high)


def _gaps(row: list[int], sides: Sequence[tuple[float, float]]) -> list[float]:
    return [sides[a][1] + GAP + sides[b][0] for a, b in pairwise(row)]


def spread(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """argmin Σ w·(x − wanted)² subject to x[i + 1] ≥ x[i] + gaps[i].

    Without its gap subtracted x need only not decrease, so this is isotonic regression: neighbours that are out of
    order move as one block.

    >>> spread([0.0, 0.0, 9.0], [1.0, 1.0, 1.0], [2.0, 2.0])
    [-1.0, 1.0, 9.0]
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for at, weight, offset in zip(wanted, weights, offsets, strict=False):
        block = (at - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            mean, heavy, length = blocks.pop()
            total = heavy + block[1]
            block = ((mean * heavy + block[0] * block[1]) / total, total, length + block[2])
        blocks.append(block)
    means = [mean for mean, _, length in blocks for _ in range(length)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]
