"""One thread per camera: opens it, hands its frames over, opens it again when it is lost, closes it for a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_fer.capture.backoff import Backoff, Pacer
from edge_fer.capture.inbox import CameraChange, Entrance
from edge_fer.capture.open import open_source
from edge_fer.capture.picture_check import PictureSampler
from edge_fer.capture.source import Picture, Source
from edge_fer.capture.uri import CameraUri
from edge_fer.capture.watch import CameraWatch, Change, WatchSettings
from edge_fer.errors import CameraError
from edge_fer.events import CameraCondition
from edge_fer.frame import Frame
from edge_fer.privacy import hide_password

SWITCHED_OFF = "switched off in the configuration"


class CameraReader(threading.Thread):
    """Reads one camera until `stop`, or until its clip ends.

    A clip that cannot be opened is finished at once; a camera is tried again, because cameras come back. Somebody
    else must call `check` every fraction of a second, because this thread may be held by a driver: then there is no
    other attempt until it is back. All other methods may be called from any thread, more than once; none waits for
    the camera.
    """

    closed: threading.Event
    """Set while the camera is disabled and its device is proven to be closed."""

    restarts: int
    """Attempts to open the camera again after it was lost or could not be opened."""

    decode_cpu_ns: int
    """CPU time of this thread so far."""

    def __init__(
        self,
        camera: str,
        uri: CameraUri,
        inbox: Entrance,
        settings: WatchSettings | None = None,
        *,
        open: Callable[[CameraUri], Source] = open_source,  # noqa: A002 - what it does, by its name
        backoff: Backoff | None = None,
        after_ns: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Opens nothing. The timeline of a clip goes on from `after_ns`, where another reader was before.

        `open`, `backoff` and the two clocks are for tests.
        """
        # A driver's read may never return: such a thread must not keep the process alive.
        super().__init__(name=f"camera-{camera}", daemon=True)
        settings = settings or WatchSettings()
        self.camera, self._uri, self._inbox, self._open = camera, uri, inbox, open
        self._clock_ns, self._wall_ns = clock_ns, wall_ns
        self._watch = CameraWatch(settings, supervised=uri.live)
        self._sampler = PictureSampler() if uri.live else None
        self._backoff, self._pacer = backoff or Backoff(), Pacer(settings.max_fps)
        # Guards all below, and that reports and frames reach the inbox in the order in which the watch saw them.
        self._changed = threading.Condition()
        self._source: Source | None = None  # whoever else aborts it
        self._stopping = self._finished = self._hurry = False
        self._seq = 0
        self._clip_offset_ns = 0
        self._last_time_ns = after_ns  # of the newest frame
        self.closed, self.restarts, self.decode_cpu_ns = threading.Event(), 0, 0
        self._may_open = settings.enabled
        if not settings.enabled:
            self.disable(SWITCHED_OFF)

    @property
    def state(self) -> CameraCondition:
        """As last reported."""
        return self._watch.state

    @property
    def last_time_ns(self) -> int | None:
        """Of the newest frame on the camera's timeline; None before the first."""
        return self._last_time_ns

    def check(self, now_ns: int | None = None) -> None:
        """Report what takes too long, and break it off; to be called every 0.2 s or so. Never waits."""
        with self._changed:
            if self._stopping:
                return
            was_given_up = self._watch.given_up
            self._report(self._watch.check(self._clock_ns() if now_ns is None else now_ns))
            source = self._source if self._watch.given_up and not was_given_up else None
        if source:
            source.abort()

    def disable(self, reason: str) -> None:
        """Close the device and leave it closed; its waiting frame is thrown away.

        `disabled` is reported, and `closed` set, when the device is closed, not before.
        """
        with self._changed:
            # One that the settings switch off is closed, and says so for that reason, during a pause and after it.
            if self._stopping or (not self._may_open and self.closed.is_set()):
                return
            self._inbox.shut(self.camera)
            if self._finished:
                self.closed.set()
                return
            self._report(self._watch.pause(self._clock_ns(), reason))
            source = self._source
            self._note_closed()
        if source:
            source.abort()

    def enable(self) -> None:
        """Open the camera again at once after `disable`; nothing for one that the settings switch off."""
        with self._changed:
            if self._stopping or not self._may_open:
                return
            self.closed.clear()
            self._inbox.admit(self.camera)
            if self._watch.paused:
                self._report(self._watch.resume(self._clock_ns()))
                self._backoff.reset()
                self._hurry = True
                self._changed.notify_all()

    def stop(self) -> None:
        """Ask the thread to end, which it does unless a driver holds it. Nothing is reported any more."""
        with self._changed:
            self._stopping = True
            self._inbox.shut(self.camera)
            source = self._source
            self._changed.notify_all()
        if source:
            source.abort()

    def run(self) -> None:
        """Thread body; an unexpected error ends the daemon instead of silencing a camera."""
        try:
            while self._begin():
                finished, failed, reason = self._read_once()
                if not self._end(reason, finished=finished, failed=failed):
                    return
        except BaseException as err:  # noqa: BLE001 - handed to the main thread, which raises it
            self._inbox.fail(err)

    def _begin(self) -> bool:
        """Wait while the camera is paused; returns whether to open it now."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._watch.paused)
            if self._stopping:
                return False
            self._hurry = False
            self._watch.begin(self._clock_ns())
            # The timeline of a clip that is opened again after a pause goes on.
            self._clip_offset_ns = 0 if self._last_time_ns is None else self._last_time_ns + 1
            return True

    def _end(self, reason: str, *, finished: bool, failed: bool) -> bool:
        """Report the end of an attempt and rest; returns whether there is to be another one."""
        with self._changed:
            if self._stopping:
                return False
            # Asked to close: it may have ended for that, and starts again if it is enabled again.
            finished = finished and not self._watch.given_up
            self._finished = finished
            self._report(self._watch.end(self._clock_ns(), reason), finished=finished, failed=failed)
            self._note_closed()
            if finished:
                return False
            if self._sampler and self._watch.paused:
                self._sampler.forget()
            self._backoff.worked(self._watch.worked_s)
            if not (self._watch.paused or self._hurry):
                self._changed.wait_for(self._is_called, self._backoff.next_s())
                self.restarts += not self._is_called()
            return True

    def _is_called(self) -> bool:
        return self._stopping or self._watch.paused or self._hurry

    def _read_once(self) -> tuple[bool, bool, str]:
        """Open the source, read it to its end and close it; returns whether it has finished and failed, and why."""
        try:
            source = self._open(self._uri)
            try:
                if self._may_read(source):
                    for picture in source.pictures():
                        if not self._hand_over(picture, lossless=source.lossless):
                            break
            finally:
                with self._changed:
                    self._source = None
                source.close()
        except CameraError as err:
            return not self._uri.live, True, hide_password(str(err))
        if source.finite:
            return True, False, "the clip has ended"
        return False, False, "the camera delivers no more pictures"

    def _may_read(self, source: Source) -> bool:
        """Keep the source for whoever aborts it, unless that has happened while it was opened."""
        with self._changed:
            if self._stopping or self._watch.given_up:
                return False
            self._source = source
            return True

    def _hand_over(self, picture: Picture, *, lossless: bool) -> bool:
        """Tell the watch, and leave the frame if it is worth looking at; returns whether to read on."""
        now_ns, unix_ns = self._clock_ns(), self._wall_ns()
        facts = self._sampler.look(picture.bgr) if self._sampler else None
        with self._changed:
            self.decode_cpu_ns = time.thread_time_ns()
            time_ns = now_ns if picture.clip_ns is None else picture.clip_ns + self._clip_offset_ns
            frame = Frame(self.camera, self._seq, time_ns, unix_ns, picture.bgr, picture.clip_ms)
            given_up = self._stopping or self._watch.given_up
            if not given_up:
                self._report(self._watch.picture(now_ns, facts))
                self._last_time_ns = time_ns
            self._seq += 1
            if given_up or not (self._watch.hands_on and self._pacer.picks(time_ns)):
                self._inbox.withhold(self.camera)
                return not given_up
            if not lossless:
                self._inbox.put(frame)
                return True
        # Waits for the pipeline, and must not keep others from the lock meanwhile.
        self._inbox.put(frame, lossless=True)
        return True

    def _note_closed(self) -> None:
        if self._watch.paused and self._watch.closed:
            self.closed.set()

    def _report(self, change: Change | None, *, finished: bool = False, failed: bool = False) -> None:
        if change:
            # The age by the steady clock, taken from the wall clock as it is now: the newest set time is the best.
            unix_ns = self._wall_ns() - (self._clock_ns() - change.since_ns)
            self._inbox.report(
                CameraChange(self.camera, change.state, change.reason, unix_ns, self._seq, finished, failed)
            )
