"""The graph of a recording by modules: what a model is made of, as its own modules have it.

A model is whatever calls modules; its `named_modules()` gives them their paths.
"""

from collections.abc import Sequence
from typing import Any

from kinone.inspection.drawing import Box, Edge, Group, draw, shortened
from kinone.inspection.trace import Call, Frame, Origin, Source, array_of, flow, is_number


def draw_modules(
    model: Any, calls: Sequence[Call], sources: Sequence[Source], ends: Sequence[tuple[str, Origin]],
    depth: int | None, title: str,
) -> str:  # fmt: skip
    """The picture; calls that stand in no opened module's own part are single boxes."""
    graph = _Graph(model, calls, depth)
    for source in sources:
        if source.kind == "input":
            graph.add(source)
    for call in calls:
        graph.take(call)
    for name, origin in ends:
        graph.end(name, origin)
    return draw(graph.boxes, graph.edges, title, graph.groups())


class _Graph:
    def __init__(self, model: Any, calls: Sequence[Call], depth: int | None) -> None:
        self.depth = depth
        self.root = model
        named = model.named_modules() if hasattr(model, "named_modules") else ()
        self.paths: dict[int, str] = {id(module): path for path, module in named}
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.places: dict[Any, int] = {}  # the number of the box of a source, a call or a frame
        self.members: dict[Frame, set[int]] = {}  # of the groups
        self.ports: dict[tuple[int, Any, int], int] = {}
        self.drawn: set[tuple[int, int, int]] = set()
        self.results: dict[Frame, Call] = {}
        for call in calls:
            for frame in self.inside(call):
                self.results[frame] = call

    def inside(self, call: Call) -> list[Frame]:
        """The modules around a call, the model itself left out."""
        return [frame for frame in call.frames if frame.module is not self.root]

    def key(self, call: Call) -> Any:
        """What a call is shown as: itself, or the call of a module that stands for all within."""
        frames = call.frames
        around = self.inside(call)
        if self.depth == 0 and frames:
            return frames[0]
        if self.depth is not None and len(around) >= self.depth:
            return around[self.depth - 1]
        return frames[-1] if frames and frames[-1].is_leaf else call

    def add(self, what: Any) -> int:
        """The number of a box for a source, a call or a frame."""
        if what in self.places:
            return self.places[what]
        if isinstance(what, Source):
            tip = f"{what.kind} {what.name}: {flow(what.tensor)}"
            box = Box(what.kind, shortened(what.name), "", tip)
        elif isinstance(what, Call):
            box = Box("operator", what.name, shortened(what.summary, 44), f"{what.id} = {what.formula}")
        else:
            box = self.module_box(what)
        self.places[what] = len(self.boxes)
        self.boxes.append(box)
        return self.places[what]

    def module_box(self, frame: Frame) -> Box:
        module = frame.module
        owned = list(module.parameters()) if hasattr(module, "parameters") else []
        count = sum(p.size for p in owned)
        detail = self.kind(module) + (f" · {count:,} parameters" if count else "")
        path = self.path(module)
        out = " and ".join(map(flow, self.results[frame].outputs[:1])) if frame in self.results else ""
        return Box("module", shortened(self.name(frame) or "model"), detail, f"{path or 'model'}: {detail} → {out}")

    def path(self, module: Any) -> str:
        return self.paths.get(id(module), type(module).__name__)

    def kind(self, module: Any) -> str:
        return getattr(module, "title", "") or type(module).__name__

    def name(self, frame: Frame) -> str:
        """Its path below the module around it."""
        path, above = self.path(frame.module), frame.above
        around = self.path(above.module) if above is not None and above.module is not self.root else ""
        return path[len(around) + 1 :] if around and path.startswith(f"{around}.") else path

    def take(self, call: Call) -> None:
        key = self.key(call)
        place = self.add(key)
        chain = self.inside(call)
        for frame in chain[: chain.index(key) if key in chain else len(chain)]:
            self.members.setdefault(frame, set()).add(place)
        for origin in call.inputs:
            self.connect(origin, key, place)

    def connect(self, origin: Origin, key: Any, place: int) -> None:
        what, port = origin
        if is_number(what):
            return
        if isinstance(what, Source) and what is not key:
            if what.kind != "input" and (isinstance(key, Frame) or self.inside(key)):
                return  # a module's own, which its box or its frame stands for
            self.add(what)
        source = self.places[self.key(what) if isinstance(what, Call) else what]
        if source == place:
            return
        number = self.ports.get((source, what, port))
        if number is None:
            number = sum(known[0] == source for known in self.ports)
            self.ports[source, what, port] = number
        if (source, place, number) not in self.drawn:
            self.drawn.add((source, place, number))
            self.edges.append(Edge(source, place, flow(array_of(origin)), number))

    def end(self, name: str, origin: Origin) -> None:
        place = len(self.boxes)
        self.boxes.append(Box("output", shortened(name), "", f"{name}: {flow(array_of(origin))}"))
        if isinstance(origin[0], Source):
            self.add(origin[0])
        self.connect(origin, origin[0], place)

    def groups(self) -> list[Group]:
        """The opened modules, outer ones first; where one has nothing but another in it, both in one frame."""
        found: list[Group] = []
        for frame, members in sorted(self.members.items(), key=lambda item: (-len(item[1]), min(item[1]))):
            title, tip = self.name(frame), f"{self.path(frame.module)}: {self.kind(frame.module)}"
            found.append(Group(f"{title} · {self.kind(frame.module)}", frozenset(members), tip))
        merged: list[Group] = []
        for group in found:
            if merged and merged[-1].members == group.members:
                before = merged.pop()
                group = Group(f"{before.title} › {group.title}", group.members, f"{before.tooltip}\n{group.tooltip}")
            merged.append(group)
        return merged
