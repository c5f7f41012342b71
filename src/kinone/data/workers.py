"""Worker processes that make batches ahead of time, and hand them over in shared memory.

Batch k is made by worker k mod n, and each worker answers in the order in which it was asked, so batches arrive in
order without being sorted. A worker writes into slots of its own; a slot is written again only after the batch in it
was taken out.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from kinone import kernels
from kinone.core.tree import flatten
from kinone.errors import DataError, KinoneError

_next = count().__next__
_ALIGNED = 64


@dataclass(frozen=True)
class _Place:
    """An array of a batch, lying in the slot."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class Workers:
    """`count` processes that compute job(task) for one task after the other, `prefetch` ahead each."""

    def __init__(self, job: Callable[[Any], Any], count: int, prefetch: int, start_method: str | None = None) -> None:
        method = start_method or ("fork" if sys.platform == "linux" else "spawn")
        context: Any = multiprocessing.get_context(method)
        if method == "fork":  # one tracker of shared memory for all: else each process takes what others freed for lost
            resource_tracker.ensure_running()
        self.prefetch = prefetch
        self.blocks: dict[str, SharedMemory] = {}
        self.prefix = f"kinone-{os.getpid()}-{_next()}"
        self.pipes: list[Any] = []
        self.processes: list[Any] = []
        for number in range(count):
            here, there = context.Pipe()
            arguments = (there, [*self.pipes, here] if method == "fork" else [], job, f"{self.prefix}-{number}")
            process = context.Process(target=_serve, args=arguments, daemon=True, name=f"loader {number}")
            with warnings.catch_warnings():
                # Python warns of forking beside threads; those of the kernels' pool are safe with it.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._started(process, method)
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def _started(self, process: Any, method: str) -> None:
        try:
            process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            self.close()
            hint = "define the data set, its transform and collate in a module, not in a function or a notebook."
            what = f"a data set that can be sent to a process started by {method!r}"
            raise DataError("DataLoader", what, str(error), hint=hint) from None

    def run(self, tasks: Sequence[Any]) -> Iterator[Any]:
        """job(task) of every task, in order."""
        ahead = len(self.pipes) * self.prefetch
        try:
            for k in range(min(ahead, len(tasks))):
                self._ask(k, tasks[k])
            for k in range(len(tasks)):
                value = self._taken(k)
                if k + ahead < len(tasks):
                    self._ask(k + ahead, tasks[k + ahead])
                yield value
        finally:
            self.close()

    def _ask(self, k: int, task: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what is missing is noticed when it is due
            self.pipes[k % len(self.pipes)].send(((k // len(self.pipes)) % self.prefetch, task))

    def _taken(self, k: int) -> Any:
        number = k % len(self.pipes)
        try:
            kind, *answer = self.pipes[number].recv()
        except (EOFError, ConnectionResetError):
            process = self.processes[number]
            process.join(5)
            code = process.exitcode
            why = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            hint = "out of memory? Fewer workers or smaller batches need less; workers=0 shows where."
            raise DataError(
                "DataLoader", f"worker {number} to make batch {k}", f"its end by {why}", hint=hint
            ) from None
        if kind == "error":
            error, notes = answer  # which an exception loses on its way
            for note in [*notes[:-1], f"in worker {number}, batch {k}:\n{notes[-1]}"]:
                error.add_note(note)
            raise error
        name, tree = answer
        leaves, build = flatten(tree)
        return build([self._copied(name, leaf) if isinstance(leaf, _Place) else leaf for leaf in leaves])

    def _copied(self, name: str, place: _Place) -> Any:
        if name not in self.blocks:
            self.blocks[name] = SharedMemory(name)
        return np.ndarray(place.shape, place.dtype, self.blocks[name].buf, place.offset).copy()

    def close(self) -> None:
        """End the processes and free their memory."""
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        for process in self.processes:
            process.join(0.5)
            if process.is_alive():
                process.terminate()
                process.join(2)
            if process.is_alive():
                process.kill()
                process.join()
        for name, block in self.blocks.items():
            block.close()
            _unlink(name)
        self.pipes, self.processes, self.blocks = [], [], {}


def _unlink(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # a worker that ended in order has done it
        block = SharedMemory(name)
        block.close()
        block.unlink()


# ------------------------------------------------------------------------------ in the worker
def _serve(pipe: Any, others: list[Any], job: Callable[[Any], Any], prefix: str) -> None:
    """Answer tasks until the other end closes, which it also does when that process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it closes the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not what the parent makes of it
    for other in others:  # copies of the parent's ends, which would keep pipes open after it
        other.close()
    kernels.set_threads(1)
    slots: dict[int, SharedMemory] = {}
    try:
        while True:
            slot, task = pipe.recv()
            try:
                answer = _packed(job(task), slots, slot, prefix)
            except Exception as error:  # noqa: BLE001 (whatever it is, the parent raises it)
                kept = error if isinstance(error, KinoneError) else DataError("DataLoader", "a batch", repr(error))
                answer = ("error", kept, [*getattr(error, "__notes__", ()), traceback.format_exc()])
            pipe.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        for block in slots.values():
            block.close()
            with contextlib.suppress(FileNotFoundError):
                block.unlink()


def _packed(batch: Any, slots: dict[int, SharedMemory], slot: int, prefix: str) -> tuple[str, str, Any]:
    leaves, build = flatten(batch)
    offset, places = 0, []
    for leaf in leaves:
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub":
            places.append(_Place(leaf.dtype.str, leaf.shape, offset))
            offset += -(-leaf.nbytes // _ALIGNED) * _ALIGNED
        else:
            places.append(leaf)
    block = slots.get(slot)
    if block is None or block.size < offset:
        if block is not None:
            block.close()
            block.unlink()
        block = slots[slot] = SharedMemory(f"{prefix}-{slot}-{_next()}", create=True, size=max(offset, 1))
    for leaf, place in zip(leaves, places, strict=True):
        if isinstance(place, _Place):
            np.ndarray(place.shape, place.dtype, block.buf, place.offset)[...] = leaf
    return "batch", block.name, build(places)
