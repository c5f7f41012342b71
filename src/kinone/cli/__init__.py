"""The command `kinone`: one small file per command, no logic of its own."""

import os
import sys
from collections.abc import Sequence

from kinone.errors import KinoneError, MissingExtraError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exit with 0, with 1 if something is broken, with 2 and one line for what cannot be done."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue] # no ∂ in this encoding
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    try:
        from cyclopts import CycloptsError

        from kinone.cli.app import app
        from kinone.cli.terminal import console
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("cyclopts", "rich"):
            raise
        missing = f"no module named {error.name!r}"
        return _refused(MissingExtraError("kinone", "the extra 'cli'", missing, hint="pip install 'kinone[cli]'."))
    try:
        command, bound, *_ = app.parse_args(arguments, console=console(), exit_on_error=False, print_error=False)
        status: int | None = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(["kinone", *(error.command_chain or ())])
        return _refused(f"[{command}] {error} Hint: {command} --help shows an example.")
    except KinoneError as error:
        return _refused(error)
    except MemoryError as error:
        hint = "smaller batches or images need less; so do more --shards of a batch."
        return _refused(f"[kinone] expected memory for what was asked, got: {error or 'none'}. Hint: {hint}")
    except BrokenPipeError:  # the reader (`| head`) has seen enough; nothing more may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status or 0


def _refused(why: object) -> int:
    print(" ".join(str(why).split()), file=sys.stderr)
    return 2
