"""How a run is asked to end: Ctrl-C, SIGTERM, or a file named STOP in its folder."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextmanager
def requests(stop: Path, told: Callable[[str], Any] = lambda _: None) -> Iterator[Callable[[], str]]:
    """Gives a function that says who has asked, or ""; `told` hears of it at once. A second Ctrl-C interrupts.

    Signals reach the main thread alone; elsewhere only the file is looked for.
    """
    asked: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(SIGNALS[signal.Signals(number)])
        told(asked[0])

    def who() -> str:
        return asked[0] if asked else "STOP" if stop.exists() else ""

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield who
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
