"""`kinone verify`: is a run what its ledger says?"""

from pathlib import Path

from rich.text import Text

from kinone.cli.terminal import BAD, DIM, GOOD, TITLE, console
from kinone.training.verify import verify as verified


def verify(run: Path, /) -> int:
    """Check a run's ledger, line by line, and its checkpoints; exit 1 if anything is wrong.

    It computes no step: that is what `kinone replay` is for.

    For example:

        kinone verify runs/demo-1

    Parameters
    ----------
    run
        The run's folder.
    """
    out, found = console(), verified(run)
    for fault in found.faults:
        out.print(Text("✗ ", BAD) + Text(fault))
    if found.faults:
        out.print(Text(f"{run} is not what its ledger says.", TITLE))
        return 1
    good = Text("✓ ", GOOD)
    out.print(good + Text(f"the chain holds over {found.steps:,} steps, and is closed"))
    out.print(good + Text(f"checkpoints agree with it: {', '.join(found.checked) or 'none is there'}"))
    if found.gone:
        out.print(Text(f"  not kept, so not checked: {', '.join(found.gone)}", DIM))
    out.print(Text(f"  profile      {found.profile}"))
    out.print(Text(f"  fingerprint  {found.fingerprint}") + Text("  of ledger.jsonl", DIM), soft_wrap=True)
    out.print(Text(f"  numbers      {found.numbers}") + Text("  of what it says, sources aside", DIM), soft_wrap=True)
    return 0
