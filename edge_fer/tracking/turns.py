"""Who is read in this frame, where there are more faces than a frame has time for."""

from __future__ import annotations

from collections.abc import Collection


class Turns:
    """Gives each face its turn: who has waited longest goes first, new faces before all, equals by their id."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._given = 0
        self._last: dict[int, int] = {}  # id -> which of all turns was its last

    def take(self, ids: Collection[int]) -> set[int]:
        """Of the faces in this frame, those whose turn it is: all, or the most that a frame has time for."""
        chosen = sorted(ids, key=lambda number: (self._last.get(number, 0), number))[: self._most]
        for number in chosen:
            self._given += 1
            self._last[number] = self._given
        return set(chosen)

    def allow(self, most: int) -> None:
        """A frame has time for so many from now on."""
        self._most = most

    def forget(self, ids: Collection[int]) -> None:
        """These tracks have ended."""
        for number in ids:
            self._last.pop(number, None)
