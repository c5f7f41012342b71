"""What a checkpoint holds, whatever the file's format."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinone import nn
from kinone.core.tensor import Tensor
from kinone.errors import ArgumentError, FormatError

FORMAT = "kinone.json.v1"
TRAINING = "kinone/"
"""What names of a training run's arrays begin with where they stand among the weights; no path of a module does."""


@dataclass
class Contents:
    """A model's architecture (None where a file has weights alone), its state, and what else there is to say of it.

    `about` has, as far as there is something to say: "title"; "frozen", the parameters that require no gradients;
    "eval", the modules in that mode; "tied", groups of parameters that are one. `training` is plain data and arrays.
    """

    state: dict[str, NDArray[Any]]
    arch: Any = None
    about: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None


ABOUT = ("title", "frozen", "eval", "tied")


def contents_of(model: nn.Module) -> Contents:
    """The model as a checkpoint holds it; arrays are the model's own."""
    state = {name: tensor.data for name, tensor in model.state_dict().items()}
    parameters = list(model.named_parameters(remove_duplicate=False))
    names: dict[int, list[str]] = {}
    for name, parameter in parameters:
        names.setdefault(id(parameter), []).append(name)
    about = {
        "title": vars(model).get("title", ""),
        "frozen": [name for name, parameter in parameters if not parameter.requires_grad],
        "eval": [path for path, module in model.named_modules() if not module.training],
        "tied": [group for group in names.values() if len(group) > 1],
    }
    return Contents(state, nn.described(model), {name: value for name, value in about.items() if value})


# ------------------------------------------------------------------------------ plain data
def plain(value: Any, where: str) -> Any:
    """The value in JSON's kinds and arrays; tuples become lists, and what else there is is refused."""
    if isinstance(value, Tensor):
        value = value.data
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str | np.ndarray):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else {"float": str(value)}
    if isinstance(value, list | tuple):
        return [plain(part, where) for part in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value) or value.keys() & {"b64", "tensor", "float"}:
            raise ArgumentError(where, "dicts with names as keys", ", ".join(map(repr, value)))
        return {key: plain(part, f"{where}.{key}") for key, part in value.items()}
    raise ArgumentError(where, "numbers, text, lists, dicts and arrays", f"a {type(value).__name__}")


def unplain(value: Any, where: str, array: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Plain data in its own kinds again, with what `array` makes of the dicts that stand for arrays."""
    if isinstance(value, list):
        return [unplain(part, where, array) for part in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value and array:
        return array(value)
    if value.keys() == {"float"}:
        if value["float"] not in ("inf", "-inf", "nan"):
            raise FormatError(where, "inf, -inf or nan", repr(value["float"]))
        return float(value["float"])
    return {key: unplain(part, where, array) for key, part in value.items()}


# ------------------------------------------------------------------------------ back into a model
def checked(contents: Contents, where: str) -> Contents:
    """The contents, if everything in them is of its kind."""
    about = contents.about
    for name, kind in (("title", str), ("frozen", list), ("eval", list), ("tied", list)):
        if name in about and not isinstance(about[name], kind):
            raise FormatError(where, f"{name} of another kind", type(about[name]).__name__)
    groups = about.get("tied", [])
    texts = [*about.get("frozen", []), *about.get("eval", []), *_flat(groups, where)]
    if not all(isinstance(text, str) for text in texts):
        raise FormatError(where, "paths as text", "something else")
    if contents.training is not None and not isinstance(contents.training, dict):
        raise FormatError(where, "training as named values", type(contents.training).__name__)
    return contents


def _flat(groups: list[Any], where: str) -> Iterable[Any]:
    for group in groups:
        if not isinstance(group, list) or len(group) < 2:
            raise FormatError(where, "tied as groups of paths", "something else")
        yield from group


def apply_about(contents: Contents, model: nn.Module, where: str) -> None:
    """Freeze what was frozen, and put every module into the mode that it was in."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    modules = dict(model.named_modules(remove_duplicate=False))
    frozen, evaluating = contents.about.get("frozen", []), contents.about.get("eval", [])
    strangers = [name for name in frozen if name not in parameters]
    strangers += [path for path in evaluating if path not in modules]
    if strangers:
        raise FormatError(where, "names of the model's own parts as frozen or in eval mode", strangers[0])
    for parameter in parameters.values():
        parameter.requires_grad = True
    for name in frozen:
        parameters[name].requires_grad = False
    for module in modules.values():
        module.training = True
    for path in evaluating:
        modules[path].training = False
