"""The readers of all cameras: a reload adds, ends and replaces some of them, and never touches another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_fer.capture.inbox import Inbox
from edge_fer.capture.reader import CameraReader
from edge_fer.capture.uri import parse_camera_uri
from edge_fer.config import CameraSettings

HANDOVER_S = 5.0
"""How long a new reader waits for the one before to close its device; a driver may never let go of it."""


@dataclass(slots=True)
class _Leaving:
    reader: CameraReader
    until_ns: int  # from then on nobody waits for it


class CameraReaders:
    """One reader for each camera of the configuration. Main thread only; never waits but in `close`."""

    def __init__(
        self,
        cameras: Mapping[str, CameraSettings],
        inbox: Inbox,
        *,
        make: Callable[..., CameraReader] = CameraReader,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Opens nothing; `make` and `clock_ns` are for tests."""
        self._inbox, self._make, self._clock_ns = inbox, make, clock_ns
        self._by_camera: dict[str, CameraReader] = {}
        self._leaving: list[_Leaving] = []
        self._waiting: dict[str, CameraReader] = {}  # not started yet
        for name, settings in cameras.items():
            self.add(name, settings)

    @property
    def all(self) -> list[CameraReader]:
        """Those of the configuration, in its order."""
        return list(self._by_camera.values())

    @property
    def problem(self) -> str:
        """Which camera may still be open although it should not be; "" where none."""
        now_ns = self._clock_ns()
        stuck = [one.reader.camera for one in self._leaving if one.reader.is_alive() and now_ns >= one.until_ns]
        return f"camera {', '.join(stuck)}: the driver of an earlier reader does not return" if stuck else ""

    def still_open(self, camera: str) -> bool:
        """Whether an earlier reader of this camera may hold its device."""
        return any(one.reader.camera == camera and one.reader.is_alive() for one in self._leaving)

    def add(self, camera: str, settings: CameraSettings) -> None:
        """A camera that `turn` will start; it may be disabled before."""
        self._put(camera, settings, None)

    def remove(self, camera: str) -> None:
        """End the camera's reader."""
        self._leave(camera)
        del self._by_camera[camera]
        self._inbox.remove(camera)

    def replace(self, camera: str, settings: CameraSettings) -> None:
        """Read the camera with other settings, once the reader before has closed it."""
        after_ns = self._by_camera[camera].last_time_ns
        self._leave(camera)
        self._put(camera, settings, after_ns)

    def order(self, cameras: Mapping[str, object]) -> None:
        """As they stand in the configuration."""
        self._by_camera = {name: self._by_camera[name] for name in cameras}

    def turn(self) -> None:
        """Start readers whose camera nobody else holds; to be called every fraction of a second."""
        now_ns = self._clock_ns()
        self._leaving = [one for one in self._leaving if one.reader.is_alive()]
        held = {one.reader.camera for one in self._leaving if now_ns < one.until_ns}
        for camera in [camera for camera in self._waiting if camera not in held]:
            self._waiting.pop(camera).start()

    def stop(self) -> None:
        """Ask all to end."""
        self._waiting.clear()
        for reader in self._by_camera.values():
            reader.stop()

    def close(self, timeout_s: float) -> None:
        """Wait a little for them; one that hangs ends with the process."""
        until_s = time.monotonic() + timeout_s
        for reader in (*self._by_camera.values(), *(one.reader for one in self._leaving)):
            if reader.ident is not None:
                reader.join(max(0.0, until_s - time.monotonic()))

    def _put(self, camera: str, settings: CameraSettings, after_ns: int | None) -> None:
        lane = self._inbox.lane(camera)
        reader = self._make(camera, parse_camera_uri(settings.uri), lane, settings, after_ns=after_ns)
        self._by_camera[camera] = self._waiting[camera] = reader

    def _leave(self, camera: str) -> None:
        reader = self._by_camera[camera]
        reader.stop()
        if self._waiting.pop(camera, None) is None:
            self._leaving.append(_Leaving(reader, self._clock_ns() + round(HANDOVER_S * 1e9)))
