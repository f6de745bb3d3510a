"""How often each live camera is looked at: what the governor's level allows, and less where nobody is.

Clips and folders of pictures are never slowed, in real time or not: they give the same events on any machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_fer.frame import Frame
from edge_fer.governor.levels import LEVELS, Level
from edge_fer.governor.settings import GovernorSettings
from edge_fer.tracking.follow import AS_SET, EACH_FRAME_MS, LOOK_AT_LEAST_MS, LookRate

IDLE_LOOKS = LookRate(every_ms=EACH_FRAME_MS)
"""The few frames that are left are all searched."""


@dataclass(slots=True)
class _Camera:
    since_ns: int  # somebody was followed, or the camera began to look
    idle: bool = False


class Pacing:
    """All cameras of a node. Main thread only; time comes from the frames."""

    def __init__(self, settings: GovernorSettings, limit: Callable[[str, float | None], None]) -> None:
        """`limit` has a camera looked at so many times a second at most from its next frame on; see `Inbox.pace`."""
        self._settings, self._limit = settings, limit
        self._level = LEVELS[0]
        self._looks = AS_SET
        self._cameras: dict[str, _Camera] = {}

    @property
    def idle_cameras(self) -> list[str]:
        """Those that are looked at less often because nobody is there, sorted."""
        return sorted(name for name, camera in self._cameras.items() if camera.idle)

    def use(self, settings: GovernorSettings) -> None:
        """Other settings from now on; one that switches idling off ends it at once."""
        self._settings = settings
        for name, camera in self._cameras.items():
            camera.idle = camera.idle and settings.idle
            self._tell(name)

    def keep_to(self, level: Level) -> None:
        """Look this often at most from now on."""
        if level == self._level:
            return
        self._level = level
        longest_ms = max(LOOK_AT_LEAST_MS, level.look_every_ms or 0)
        self._looks = LookRate(level.detect_every_frames, longest_ms)
        for name in self._cameras:
            self._tell(name)

    def looks(self, frame: Frame) -> LookRate:
        """How often faces are looked for in the frames of this one's camera, this one included."""
        if frame.clip_ms is not None:
            return AS_SET
        camera = self._cameras.get(frame.camera)
        return IDLE_LOOKS if camera and camera.idle else self._looks

    def note(self, frame: Frame, *, followed: bool, glimpsed: bool) -> None:
        """What was in the frame: a face that is followed, or any trace of one.

        A trace ends idling with the very frame. One that proves to be no face does not count as somebody.
        """
        if frame.clip_ms is not None:
            return
        camera = self._cameras.get(frame.camera)
        if camera is None:
            camera = self._cameras[frame.camera] = _Camera(frame.time_ns)
            self._tell(frame.camera)
        if followed:
            camera.since_ns = frame.time_ns
        settings, was_idle = self._settings, camera.idle
        alone_s = (frame.time_ns - camera.since_ns) / 1e9
        camera.idle = settings.idle and not (followed or glimpsed) and alone_s >= settings.idle_after_s
        if camera.idle is not was_idle:
            self._tell(frame.camera)

    def forget(self, camera: str) -> None:
        """The camera sees nothing, or is gone: when it is back, it is looked at in full first."""
        if self._cameras.pop(camera, None):
            self._limit(camera, self._level.max_fps)

    def _tell(self, name: str) -> None:
        limits = [self._level.max_fps, self._settings.idle_fps if self._cameras[name].idle else None]
        self._limit(name, min((fps for fps in limits if fps is not None), default=None))
