"""Contents of a checkpoint, made into a model again."""

from collections.abc import Iterable

from kinone import nn, random
from kinone.errors import FormatError
from kinone.formats.bounds import SMALL, Bounded, check_sizes
from kinone.formats.contents import Contents, apply_about
from kinone.models import MODULES
from kinone.nn.state import LoadReport


def rebuilt(
    contents: Contents, where: str, modules: Iterable[type[nn.Module]] = (), strict: bool = True
) -> tuple[nn.Module, LoadReport]:
    """The model, with its weights, ties, frozen parameters and modes; the random streams stay where they are."""
    if contents.arch is None:
        hint = "make the model, then model.load(path)."
        raise FormatError(where, "an architecture beside the weights", "weights alone", hint=hint)
    kinds = {**known_kinds(), **nn.registered(), **nn.kinds_in(modules)}
    held = sum(array.size for array in contents.state.values())
    check_sizes(contents.arch, held, where)
    try:
        with random.standing_in(Bounded(4 * held + (1 << 16 if strict else SMALL), where)):
            model = nn.build(contents.arch, kinds)
            report = model.load_state_dict(contents.state, strict, assign=True)
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(where, "an architecture that can be built", str(error) or type(error).__name__) from None
    model.title = contents.about.get("title", "")
    _tie(model, contents.about.get("tied", []), where)
    apply_about(contents, model, where)
    return model, report


def known_kinds() -> dict[str, type[nn.Module]]:
    """The classes that a checkpoint may be made of without being told: layers and models."""
    return {**nn.MODULES, **MODULES}


def _tie(model: nn.Module, groups: list[list[str]], where: str) -> None:
    """Make each group of parameters one, as it was."""
    modules, parameters = dict(model.named_modules(remove_duplicate=False)), {}
    for group in groups:
        parameters = parameters or dict(model.named_parameters(remove_duplicate=False))
        missing = [name for name in group if name not in parameters]
        if missing or len({parameters[name].shape for name in group}) > 1:
            raise FormatError(where, "tied parameters of one shape", ", ".join(missing or group))
        for name in group[1:]:
            owner, _, attribute = name.rpartition(".")
            setattr(modules[owner], attribute, parameters[group[0]])
