"""Writes the two stubs that tell editors and type checkers what `kinone.ops` puts together at import.

`python -m kinone.ops.stubs` writes them anew; a test holds the files against the text made here.
"""

import inspect
import re
from pathlib import Path
from typing import Any

from kinone.core.op import Op
from kinone.ops import ALL_OPS, EXPORTS, METHODS

ROOT = Path(__file__).parent.parent
_HEAD = '"""Made by `python -m kinone.ops.stubs`; do not edit."""\n\n'
# Types that a stub can name without importing the module that the operator stands in.
_PLAIN = re.compile(r"^(?:(?:int|float|bool|str|None|Any|Tensor|tuple|list|\.\.\.)[\[\], |]*)+$")


def ops_stub() -> str:
    """The names of `kinone.ops`, each from the module that defines it."""
    lines = [_HEAD, "from collections.abc import Mapping\nfrom types import ModuleType\nfrom typing import Any\n\n"]
    last: list[str] = []
    lines.append("from kinone.core.op import Op\nfrom kinone.core.tensor import Tensor\n")
    for name, value in sorted(EXPORTS.items(), key=lambda item: (item[1].__module__, item[0].lower())):
        original = getattr(value, "__name__", name)
        if isinstance(value, Op) and value.is_variadic and value.required:  # einsum("ij,jk->ik", a, b)
            last.append(f"def {name}({', '.join(f'{n}: Any' for n in value.required)}, *xs: Any) -> Tensor: ...\n")
            continue
        lines.append(f"from {value.__module__} import {original} as {name}\n")
    lines.append("\nALL_OPS: Mapping[str, Op[...]]\nEXPORTS: Mapping[str, Any]\nMETHODS: Mapping[str, Any]\n")
    lines.extend(["FAMILIES: tuple[ModuleType, ...]\n", *last])
    lines.append(f"__all__ = [{', '.join(repr(name) for name in EXPORTS)}]\n".replace("'", '"'))
    return "".join(lines)


def methods_stub() -> str:
    """The methods of Tensor that operators, assignment and interop install."""
    lines = [_HEAD, "from collections.abc import Iterator\nfrom typing import Any\n\n"]
    lines.append("from kinone.core.tensor import Tensor\n\nclass Methods:\n")
    owners = {name: op for op in ALL_OPS.values() for name in (*op.methods, *op.reflected)}
    lines.append("    def __hash__(self) -> int: ...\n")  # by identity, although __eq__ compares elements
    for name, value in sorted(METHODS.items()):
        lines.append(f"    {_method(name, owners.get(name), value)}\n")
    return "".join(lines)


def _method(name: str, op: Op[...] | None, value: Any) -> str:
    if isinstance(value, property):
        return f"@property\n    def {name}(self) -> Tensor: ..."
    function: Any = op.forward if op is not None else value
    parameters = list(inspect.signature(function).parameters.values())
    rest = parameters if parameters[0].kind is inspect.Parameter.VAR_POSITIONAL else parameters[1:]
    if op is not None and name in op.reflected:
        rest = rest[-1:]
    elif len(rest) == 1 and rest[0].kind is not rest[0].KEYWORD_ONLY and "tuple[int" in _text(rest[0].annotation):
        return f"def {name}(self, *{rest[0].name}: Any) -> Tensor: ..."  # x.reshape(2, 3) and x.reshape((2, 3))
    written = ["self"]
    for p in rest:
        if p.kind is p.KEYWORD_ONLY and "*" not in written and not any(w.startswith("*") for w in written):
            written.append("*")
        star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else " = ..."
        written.append(f"{star}{p.name}: {_text(p.annotation)}{default}")
    returned = _text(inspect.signature(function).return_annotation)
    if op is not None:
        returned = "tuple[Tensor, ...]" if returned.startswith("tuple") else "Tensor"
    ignore = "  # pyright: ignore[reportIncompatibleMethodOverride]" if name in ("__eq__", "__ne__") else ""
    return f"def {name}({', '.join(written)}) -> {returned}: ...{ignore}"


def _text(annotation: Any) -> str:
    """An annotation as a stub can write it: plain types as they are, everything else Any."""
    if annotation is type(None) or annotation is None:
        return "None"
    text = inspect.formatannotation(annotation)
    text = re.sub(r"typing\.Annotated\[typing\.Any, 'array'\]", "Any", text)
    text = text.replace("typing.", "").replace("kinone.core.tensor.", "").replace("collections.abc.", "")
    return text if _PLAIN.match(text) or text in ("Iterator[Tensor]",) else "Any"


STUBS = {ROOT / "ops/__init__.pyi": ops_stub, ROOT / "core/methods.pyi": methods_stub}


def main() -> None:
    """Write both stubs."""
    for path, text in STUBS.items():
        path.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
