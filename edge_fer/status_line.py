"""How the daemon is, in one line: what `systemctl status` shows, and what a deployment waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from edge_fer.events import CameraCondition, Problem
from edge_fer.memory.pause import PAUSED
from edge_fer.privacy import hide_password

WITHOUT_CONNECTION = ("broker-unreachable", "broker-login", "broker-tls")
"""Problems that only say again why there is no connection."""

RATE_S = 10.0
"""What the frames per second are a mean of: a figure that changes more often than that tells nobody more."""

FIRST_RATE_S = 1.0

LONGEST_REASON = 120


class CameraTold(Protocol):
    """What is said of a camera."""

    @property
    def state(self) -> CameraCondition:
        """Whether pictures arrive."""

    @property
    def reason(self) -> str:
        """Why not, for people."""


class FrameRate:
    """Frames per second over the last ten seconds, of all cameras."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s, self._since_s, self._frames = clock_s, clock_s(), 0
        self._per_s: float | None = None

    def take(self, frames: int) -> float | None:
        """The newest figure; None in the first second. `frames` were looked at since the start."""
        elapsed_s = self._clock_s() - self._since_s
        if elapsed_s >= (FIRST_RATE_S if self._per_s is None else RATE_S):
            # A camera that a reload takes away takes its frames with it.
            self._per_s = max(0, frames - self._frames) / elapsed_s
            self._since_s, self._frames = self._since_s + elapsed_s, frames
        return self._per_s


def status_line(
    *,
    broker: str | None,
    cameras: Mapping[str, CameraTold],
    frames_per_s: float | None = None,
    problems: Sequence[Problem] = (),
) -> str:
    """`online; broker connected; 1 of 1 cameras online; 15.0 frames/s`, or "paused", and what is wrong; no password.

    `broker` is why it is not connected, "" where it is, None where there is none.
    """
    paused = [camera for camera in cameras.values() if camera.state == "disabled" and camera.reason == PAUSED]
    closed = all(camera.state == "disabled" for camera in cameras.values())
    parts = ["paused" if paused and closed else "online", _broker(broker), _cameras(cameras)]
    if frames_per_s is not None:
        parts.append(f"{frames_per_s:.1f} frames/s")
    # The reason why there is no connection is told already.
    left = [problem for problem in problems if not (broker and problem.code in WITHOUT_CONNECTION)]
    if left:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        parts.append(f"{left[0].code}: {_short(left[0].text)}{more}")
    return hide_password("; ".join(parts))


def _broker(why_not: str | None) -> str:
    if why_not is None:
        return "no broker"
    return f"broker not connected: {_short(why_not)}" if why_not else "broker connected"


def _cameras(cameras: Mapping[str, CameraTold]) -> str:
    missing = {name: camera for name, camera in cameras.items() if camera.state != "online"}
    told = f"{len(cameras) - len(missing)} of {len(cameras)} cameras online"
    if not missing:
        return told
    # Rather one that ought to be online.
    name = next((name for name, camera in missing.items() if camera.state != "disabled"), next(iter(missing)))
    return f"{told} ({name} {missing[name].state}: {_short(missing[name].reason)})"


def _short(text: str) -> str:
    """Passwords go before the cut, which could leave half of one behind."""
    hidden = hide_password(text)
    return hidden if len(hidden) <= LONGEST_REASON else hidden[: LONGEST_REASON - 3] + "..."
