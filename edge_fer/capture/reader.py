"""One thread per camera: opens it, hands its frames over, opens it again when it is lost."""

from __future__ import annotations

import random
import threading
import time

from edge_fer.capture.inbox import CameraChange, Inbox
from edge_fer.capture.open import open_source
from edge_fer.capture.source import Picture
from edge_fer.capture.uri import CameraUri
from edge_fer.errors import CameraError
from edge_fer.events import CameraCondition
from edge_fer.frame import Frame

RETRY_FIRST_S, RETRY_LAST_S = 1.0, 30.0


class CameraReader(threading.Thread):
    """Reads one camera until `stop`, or until its clip ends.

    A clip that cannot be opened is finished at once; a camera is tried again, because cameras come back.
    """

    def __init__(self, camera: str, uri: CameraUri, inbox: Inbox) -> None:
        # A driver's read may never return: such a thread must not keep the process alive.
        super().__init__(name=f"camera-{camera}", daemon=True)
        self.camera, self._uri, self._inbox = camera, uri, inbox
        self._stopping = threading.Event()
        self._seq = 0
        self.decode_cpu_ns = 0  # CPU time of this thread so far

    def stop(self) -> None:
        """Ask the thread to end after the picture it waits for."""
        self._stopping.set()

    def run(self) -> None:
        """Thread body; an unexpected error ends the daemon instead of silencing a camera."""
        try:
            self._run()
        except BaseException as err:  # noqa: BLE001 - handed to the main thread, which raises it
            self._inbox.fail(err)

    def _run(self) -> None:
        retry_s, reason = RETRY_FIRST_S, ""
        while not self._stopping.is_set():
            first_seq, failed = self._seq, False
            try:
                finished = self._read_once()
                found = "the clip has ended" if finished else "the camera delivers no more pictures"
            except CameraError as err:
                finished, failed, found = not self._uri.live, True, str(err)
            seen = self._seq > first_seq
            if self._stopping.is_set():
                return
            if found != reason or seen:
                self._report("offline", found, finished=finished, failed=failed)
            if finished:
                return
            reason, retry_s = found, RETRY_FIRST_S if seen else min(retry_s * 2, RETRY_LAST_S)
            self._stopping.wait(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret

    def _read_once(self) -> bool:
        """Open the source and read it to its end; returns whether it ended as a clip does."""
        source = open_source(self._uri)
        first_seq = self._seq
        try:
            for picture in source.pictures():
                if self._stopping.is_set():
                    break
                if self._seq == first_seq:
                    self._report("online", "")
                self._hand_over(picture, lossless=source.lossless)
        finally:
            source.close()
        return source.finite

    def _hand_over(self, picture: Picture, *, lossless: bool) -> None:
        time_ns = time.monotonic_ns() if picture.clip_ns is None else picture.clip_ns
        frame = Frame(self.camera, self._seq, time_ns, time.time_ns(), picture.bgr, picture.clip_ms)
        self._seq += 1
        self.decode_cpu_ns = time.thread_time_ns()
        self._inbox.put(frame, lossless=lossless)

    def _report(self, state: CameraCondition, reason: str, *, finished: bool = False, failed: bool = False) -> None:
        self._inbox.report(CameraChange(self.camera, state, reason, time.time_ns(), self._seq, finished, failed))
