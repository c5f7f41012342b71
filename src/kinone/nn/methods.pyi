"""What `kinone` puts on modules; tests/test_module.py holds it against what is there."""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, Self

from kinone.nn.module import Module
from kinone.nn.state import LoadReport
from kinone.nn.summary import Summary

class Methods:
    def summary(
        self,
        *inputs: Any,
        depth: int | None = None,
        columns: Sequence[str] = ...,
        batch_size: int | None = None,
        optimizer_states: int = 2,
        **named_inputs: Any,
    ) -> Summary: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def load(
        self, path: str | PathLike[str], strict: bool = True, *, skip: Sequence[str] = (), prefix: str = ""
    ) -> LoadReport: ...
    def save_json(self, path: str | PathLike[str]) -> None: ...
    @classmethod
    def load_json(
        cls,
        path: str | PathLike[str],
        modules: Iterable[type[Module]] = (),
        strict: bool = True,
        *,
        limit: int | None = None,
    ) -> Self: ...
