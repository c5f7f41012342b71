"""Ctrl-C during a fit: it ends after the batch at hand, with model and optimizer whole."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def deferred_interrupts(run: Any) -> Iterator[None]:
    """The first Ctrl-C asks the fit to stop, the second interrupts at once; where signals do not come, nothing."""
    is_default = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not is_default:
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if run.stopping and run.is_at_once:
            raise KeyboardInterrupt
        where = f"in epoch {run.epoch + 1} after {run.batch} batches"
        run.stop(f"interrupted {where}", at_once=True)
        sys.stderr.write("\nThe fit ends after this batch; Ctrl-C again to end at once.\n")

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
