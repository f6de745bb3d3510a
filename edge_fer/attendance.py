"""Which cameras there is still something to hear of, and whether there ever was one."""

from __future__ import annotations

import logging
from collections.abc import Collection

from edge_fer.capture.inbox import CameraChange
from edge_fer.errors import CameraError

log = logging.getLogger(__name__)


class Attendance:
    """Takes every change of a camera, and logs it once."""

    def __init__(self, cameras: Collection[str], expected: Collection[str]) -> None:
        """`expected`: cameras of which one must be there at the start, or it is a mistake; a stream may come later."""
        self._running = set(cameras)
        self._unopened = set(expected)
        self._reasons: dict[str, str] = {}
        self._ever_online = len(expected) < len(cameras)
        self._came_later: set[str] = set()  # cameras that a reload brought or changed: they cannot end the daemon

    @property
    def any_left(self) -> bool:
        """Whether there is a camera or clip that may still deliver."""
        return bool(self._running)

    def note(self, change: CameraChange) -> None:
        """Take a change; CameraError where no camera can be opened at the start, or a clip cannot be read."""
        camera, was = change.camera, self._reasons.get(change.camera)
        if change.state in ("connecting", "disabled"):
            self._ever_online = self._ever_online or change.state == "disabled"
            log.info("camera %s %s: %s", camera, change.state, change.reason)
            return
        self._reasons[camera] = change.reason
        self._unopened.discard(camera)
        if change.state == "online":
            self._ever_online = True
            log.info("camera %s %s", camera, "online" if was is None else "is back")
            return
        if change.finished:
            self._finish(change)
            return
        if not self._ever_online and not self._unopened:
            raise CameraError("no camera can be opened: " + "; ".join(self._reasons.values()))
        # A frozen or dark camera still delivers: it is not opened again.
        again = "" if change.state in ("frozen", "dark") else "; trying again until it is back"
        log.warning("camera %s %s: %s%s", camera, change.state, change.reason, again)

    def add(self, camera: str) -> None:
        """A reload brings or changes it."""
        self.forget(camera)
        self._running.add(camera)
        self._came_later.add(camera)

    def forget(self, camera: str) -> None:
        """A reload takes it away."""
        self._reasons.pop(camera, None)
        for cameras in (self._running, self._unopened, self._came_later):
            cameras.discard(camera)
        # A daemon that has worked is not ended by what a reload brings.
        self._ever_online = True

    def _finish(self, change: CameraChange) -> None:
        camera = change.camera
        self._running.discard(camera)
        if change.failed and (camera not in self._came_later or not self._running):
            raise CameraError(f"camera {camera}: {change.reason}")
        log.log(logging.ERROR if change.failed else logging.INFO, "camera %s: %s", camera, change.reason)
