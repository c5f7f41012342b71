"""Contents of a checkpoint, made into a model again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kinone import nn, random
from kinone.errors import FormatError
from kinone.formats.contents import Contents, apply_about
from kinone.nn.state import LoadReport


def rebuilt(
    contents: Contents, where: str, modules: Iterable[type[nn.Module]] = (), strict: bool = True
) -> tuple[nn.Module, LoadReport]:
    """The model, with its weights, ties, frozen parameters and modes; the random streams stay where they are."""
    if contents.arch is None:
        hint = "make the model, then model.load(path)."
        raise FormatError(where, "an architecture beside the weights", "weights alone", hint=hint)
    kinds = {**known_kinds(), **nn.registered(), **nn.kinds_in(modules)}
    try:
        with _undrawn():
            model = nn.build(contents.arch, kinds)
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(where, "an architecture that can be built", str(error) or type(error).__name__) from None
    model.title = contents.about.get("title", "")
    report = model.load_state_dict(contents.state, strict, assign=True)
    _tie(model, contents.about.get("tied", []), where)
    apply_about(contents, model, where)
    return model, report


def known_kinds() -> dict[str, type[nn.Module]]:
    """The classes that a checkpoint may be made of without being told: layers and models."""
    return dict(nn.MODULES)


@contextmanager
def _undrawn() -> Iterator[None]:
    """Let first values be drawn, and put the stream that they come from back to where it was."""
    stream = random.stream("init")
    state = stream.state()
    try:
        yield
    finally:
        stream.restore(state)


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
