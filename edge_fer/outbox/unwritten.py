"""What was handed to the store and is not on disk yet."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from edge_fer.outbox.open_tracks import TrackChange, TrackKey
from edge_fer.outbox.rows import Changes, WaitingEvent

_MANY = 500  # removals that do not wait for company


class Unwritten:
    """Collects what the next transaction writes. Not thread safe: the store calls it under its lock."""

    def __init__(self, losses: Mapping[str, int]) -> None:
        """`losses` is what the file tells of earlier runs, by reason."""
        self.events: dict[int, WaitingEvent] = {}
        self.removed: set[int] = set()
        self.losses = dict(losses)
        self._losses_changed = False
        self._tracks: dict[TrackKey, Mapping[str, Any] | None] = {}
        self._open: dict[TrackKey, Mapping[str, Any]] = {}  # of this run
        self._writing: frozenset[int] = frozenset()

    @property
    def any(self) -> bool:
        """Whether anything is not on disk."""
        return bool(self.removed) or self.news

    @property
    def urgent(self) -> bool:
        """Whether it must not wait for company."""
        return self.news or len(self.removed) > _MANY

    @property
    def news(self) -> bool:
        """Whether there is anything but removals, which may be forgotten: that delivers twice, and loses nothing."""
        return bool(self.events or self._tracks or self._losses_changed)

    @property
    def has_open_tracks(self) -> bool:
        """Whether a track of this run is open."""
        return bool(self._open)

    def add(self, event: WaitingEvent | None, track: TrackChange | None) -> None:
        """An event, and what it does to the open tracks."""
        if event:
            self.events[event.number] = event
        if track:
            self._tracks[track.key] = track.body
            if track.body is None:
                self._open.pop(track.key, None)
            else:
                self._open[track.key] = track.body

    def remove(self, event: WaitingEvent) -> bool:
        """Forget an event; returns whether it is, or is about to be, on disk, from where it has to be removed."""
        if self.events.pop(event.number, None) is not None and event.number not in self._writing:
            return False
        self.removed.add(event.number)
        return True

    def count_loss(self, reason: str, events: int) -> None:
        """Events that nobody will be told."""
        self.losses[reason] = self.losses.get(reason, 0) + events
        self._losses_changed = True

    def found_losses(self, losses: Mapping[str, int]) -> None:
        """The sums of a file that could not be read before."""
        for reason, events in losses.items():
            self.losses[reason] = max(events, self.losses.get(reason, 0))

    def oldest(self, limit: int) -> list[WaitingEvent]:
        """The events that have waited longest."""
        return list(islice(self.events.values(), limit))

    def take(self, *, still_open: bool) -> Changes:
        """All of it, for one transaction, to which written() or failed() is the answer."""
        self._writing = frozenset(self.events)
        return Changes(
            list(self.events.values()),
            frozenset(self.removed),
            dict(self._tracks),
            {key.boot_id for key in self._open} if still_open else (),
            dict(self.losses) if self._losses_changed else {},
        )

    def written(self, changes: Changes) -> None:
        """They are on disk; what has changed since is not."""
        for event in changes.events:
            event.stored = True
            self.events.pop(event.number, None)
        self._writing = frozenset()
        self.removed -= set(changes.removed)
        for key, body in changes.tracks.items():
            if key in self._tracks and self._tracks[key] is body:
                del self._tracks[key]
        if changes.losses == self.losses:
            self._losses_changed = False

    def failed(self) -> None:
        """Nothing of it is on disk."""
        self._writing = frozenset()

    def begin_afresh(self) -> None:
        """The file is a fresh one: what is still in memory is written again."""
        self._tracks = {**self._open, **self._tracks}
        self._losses_changed = bool(self.losses)
