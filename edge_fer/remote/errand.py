"""Work that may wait for a disk or load a model, done beside the main thread; one at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from edge_fer.errors import EdgeFerError

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class Errand(Generic[Result]):
    """Runs one piece of work in a thread of its own. All methods are for one thread, which never waits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._result: Result | Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether work was started whose result was not taken yet."""
        return self._thread is not None

    def start(self, work: Callable[[], Result]) -> None:
        """Begin; RuntimeError while it is busy."""
        if self._thread is not None:
            raise RuntimeError(f"{self._name} is busy")

        def run() -> None:
            try:
                self._result = work()
            except EdgeFerError as err:
                self._result = err
            except Exception as err:
                log.debug("%s failed", self._name, exc_info=True)
                self._result = err

        # The end of the daemon does not wait for it.
        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of the work, if there is any."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def take(self) -> Result | Exception | None:
        """The result, or what it raised, once; None while there is none."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        result, self._result = self._result, None
        return result
