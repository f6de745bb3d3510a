"""Work in a thread that may never come back, which must not hold up anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Apart(Generic[T]):
    """Begins at once. What hangs is left behind, and ends with the process."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def result(self, timeout_s: float) -> T:
        """What the work gives, or raises; TimeoutError where it is not done in time."""
        self._thread.join(max(0.0, timeout_s))
        if self._error:
            raise self._error
        if not self._results:
            raise TimeoutError
        return self._results[0]

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as err:  # noqa: BLE001 - raised again where the result is asked for
            self._error = err
