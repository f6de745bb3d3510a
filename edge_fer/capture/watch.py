"""What the pictures of a camera, and their absence, say about it: a state machine without clock, thread or device."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from edge_fer.capture.picture_check import PictureChecks, PictureFacts
from edge_fer.events import CameraCondition
from edge_fer.toml import Settings

DRIVER_GRACE_S = 5.0
"""How long an attempt that was given up may take to return before its driver is said to hang."""

PICTURES_ARRIVE = "pictures arrive"
ENABLED_AGAIN = "enabled again"


class WatchSettings(Settings):
    """How one camera is watched. Clips and folders of pictures know only `enabled` and `max_fps`."""

    enabled: bool = True
    """false: the device is never opened, whatever else asks for it."""

    connect_timeout_s: float = Field(default=15.0, ge=1, le=600)
    """From an attempt to open the camera to its first picture; some need 40 s."""

    stall_timeout_s: float = Field(default=5.0, ge=0.5, le=600)
    """Without a picture for this long, the camera is opened again."""

    frozen_after_s: float = Field(default=10.0, ge=0, le=3600)
    """Pictures arrive, but for this long the same one, to the last bit; 0 switches this off."""

    dark_after_s: float = Field(default=5.0, ge=0, le=3600)
    """Nothing to see for this long: no light, covered, or dazzled; 0 switches this off."""

    max_fps: float | None = Field(default=None, ge=0.1, le=1000)
    """At most so many pictures a second are looked at, evenly spaced."""


class Change(NamedTuple):
    """Another state, or another reason for the same one."""

    state: CameraCondition
    reason: str  # never empty
    since_ns: int  # when the state began, on the clock of the times that were given


class CameraWatch:
    """One camera, told what happens to it: `begin`, `picture` ..., `end`, again and again, and `check` in between.

    All times are of one clock that never goes back. Every call returns the change that follows from it, or None.
    The state only changes to what was found: an attempt that has begun or was given up finds nothing by itself,
    so a camera that is lost stays offline or stalled until there is a picture or another reason.
    """

    def __init__(self, settings: WatchSettings, *, supervised: bool) -> None:
        """`supervised`: a live camera; a clip may take its time and stand still."""
        self.state: CameraCondition = "connecting"
        self._reason = ""
        self._since_ns = 0
        self._settings, self._supervised = settings, supervised
        self._checks = PictureChecks(frozen_after_s=settings.frozen_after_s, dark_after_s=settings.dark_after_s)
        self._phase: Literal["closed", "opening", "reading", "given up"] = "closed"
        self._mark_ns = 0  # begin of the attempt, last picture, or when it was given up
        self._first_ns: int | None = None  # picture of this attempt
        self._last_ns = 0
        self._verdict: tuple[CameraCondition, str] = ("connecting", "")  # on the attempt that was given up
        self._paused: str | None = None

    @property
    def paused(self) -> bool:
        """Whether the camera is to stay closed."""
        return self._paused is not None

    @property
    def closed(self) -> bool:
        """Whether no device is open: before `begin` and after `end`."""
        return self._phase == "closed"

    @property
    def given_up(self) -> bool:
        """Whether the attempt is to end: what it still delivers is too late."""
        return self._phase == "given up"

    @property
    def hands_on(self) -> bool:
        """Whether the picture that was told last is worth looking at."""
        return self._phase == "reading" and self.state == "online"

    @property
    def worked_s(self) -> float:
        """From the first to the last picture of the newest attempt."""
        return 0.0 if self._first_ns is None else (self._last_ns - self._first_ns) / 1e9

    def begin(self, now_ns: int) -> None:
        """Note that an attempt to open the camera begins; not while it is paused."""
        self._phase, self._mark_ns, self._first_ns = "opening", now_ns, None

    def picture(self, now_ns: int, facts: PictureFacts | None) -> Change | None:
        """A picture has arrived; its facts are needed of a supervised camera only."""
        if self._phase not in ("opening", "reading"):
            return None
        first = self._first_ns is None
        self._phase, self._mark_ns, self._last_ns = "reading", now_ns, now_ns
        if first:
            self._first_ns = now_ns
        found = self._checks.update(facts, now_ns=now_ns, first=first) if self._supervised and facts else None
        return self._to(now_ns, *(found or ("online", PICTURES_ARRIVE)))

    def check(self, now_ns: int) -> Change | None:
        """Time has passed; afterwards the attempt may be `given_up`."""
        waited_s = (now_ns - self._mark_ns) / 1e9
        if self._phase == "given up":
            return self._to(now_ns, "stalled", self._hangs()) if waited_s >= DRIVER_GRACE_S else None
        if not self._supervised:
            return None
        connect_s, stall_s = self._settings.connect_timeout_s, self._settings.stall_timeout_s
        if self._phase == "opening" and waited_s >= connect_s:
            return self._give_up(now_ns, "offline", f"no first picture within {connect_s:g} s")
        if self._phase == "reading" and waited_s >= stall_s:
            return self._give_up(now_ns, "stalled", f"no picture for {stall_s:g} s")
        return None

    def end(self, now_ns: int, reason: str) -> Change | None:
        """The attempt is over and the device closed, for this reason unless it was given up for another."""
        gave_up, self._phase = self.given_up, "closed"
        if self._paused is not None:
            return self._to(now_ns, "disabled", self._paused)
        return self._to(now_ns, *(self._verdict if gave_up else ("offline", reason)))

    def pause(self, now_ns: int, reason: str) -> Change | None:
        """Stay closed from now on. `disabled` follows at once if it is closed, otherwise at the `end`."""
        self._paused = reason
        if self.closed:
            return self._to(now_ns, "disabled", reason)
        if not self.given_up:
            self._phase, self._mark_ns = "given up", now_ns
        return None

    def resume(self, now_ns: int) -> Change | None:
        """Open again after a pause."""
        if self._paused is None:
            return None
        self._paused = None
        if self.closed:
            return self._to(now_ns, "connecting", ENABLED_AGAIN)
        self._verdict = ("connecting", ENABLED_AGAIN)
        return None

    def _give_up(self, now_ns: int, state: CameraCondition, reason: str) -> Change | None:
        self._phase, self._mark_ns, self._verdict = "given up", now_ns, (state, reason)
        return self._to(now_ns, state, reason)

    def _hangs(self) -> str:
        if self._paused is not None:
            return f"to be closed ({self._paused}), but its driver does not return: it may still be open"
        return f"{self._verdict[1]}, and its driver does not return"

    def _to(self, now_ns: int, state: CameraCondition, reason: str) -> Change | None:
        if (state, reason) == (self.state, self._reason):
            return None
        if state != self.state:
            self._since_ns = now_ns
        self.state, self._reason = state, reason
        return Change(state, reason, self._since_ns)
