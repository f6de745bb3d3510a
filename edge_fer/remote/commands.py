"""Commands and reloads, carried out between two turns of the main loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from edge_fer.errors import EdgeFerError
from edge_fer.events import CameraCondition
from edge_fer.memory.pause_file import ask_pause, ask_resume, moment
from edge_fer.power_modes.ask import ask_power_mode
from edge_fer.remote.errand import Errand
from edge_fer.remote.queue import CommandQueue
from edge_fer.remote.reload import Hangup, Reloader
from edge_fer.remote.replies import Outcome, Replies
from edge_fer.remote.requests import Asker, Request

ASKED_BY = "mqtt"

MAX_AGE_NS = 30_000_000_000
"""A command that waited longer, because the one before it hangs, is out of date."""


class Node(Protocol):
    """What commands need of the daemon."""

    @property
    def conditions(self) -> dict[str, CameraCondition]:
        """State of each camera, in the order of the configuration."""

    def detect_now(self, cameras: Sequence[str]) -> None:
        """Search the whole next frame of these cameras."""


class Remote:
    """Carries commands out, one in each turn, and reloads the configuration. Main thread only; never waits."""

    def __init__(
        self,
        node: Node,
        reloader: Reloader,
        *,
        queue: CommandQueue | None = None,
        replies: Replies | None = None,
        pause_folder: Path | None = None,
        hangup: Hangup | None = None,
        ask_mode: Callable[[str], str] = ask_power_mode,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`pause_folder` None: a run that remembers nothing can be paused by nobody."""
        self._node, self._reloader, self._queue, self._replies = node, reloader, queue, replies
        self._pause_folder, self._hangup, self._clock_ns = pause_folder, hangup or Hangup(), clock_ns
        self._ask_mode = ask_mode
        self._pausing = Errand[str]("pause")
        self._pauser = Asker("pause")
        self._mode_setting = Errand[str]("power-mode")
        self._mode_asker = Asker("set-power-mode")
        self._held: Request | None = None  # waits for the pause before it

    @property
    def problem(self) -> str:
        """What is wrong with the configuration that was read last; "" where it runs."""
        return self._reloader.problem

    @property
    def dropped(self) -> int:
        """Commands without any reply: a flood."""
        return (self._queue.dropped if self._queue else 0) + (self._replies.dropped if self._replies else 0)

    def turn(self) -> None:
        """Do what is due."""
        # One that comes while the file is read may be about what was written since.
        if not self._reloader.busy and self._hangup.take():
            self._reloader.ask()
        self._reloader.turn()
        self._tell(self._pausing.take(), self._pauser)
        self._tell(self._mode_setting.take(), self._mode_asker)
        if self._queue and self._replies:
            if request := self._held or self._queue.next_request():
                self._held = None
                self._carry_out(request)
            self._replies.turn(self._queue.refusals())

    def close(self, timeout_s: float) -> None:
        """Wait a little for what is being done: a pause is to be written, and no network half loaded."""
        self._pausing.wait(timeout_s)
        self._reloader.close(timeout_s)

    def _carry_out(self, request: Request) -> None:
        if self._clock_ns() - request.at_ns > MAX_AGE_NS:
            self._say(request.asker, f"expired: it waited longer than {MAX_AGE_NS // 1_000_000_000} s", ok=False)
            return
        if self._pausing.busy:  # in order: what comes after a pause may count on it
            self._held = request
            return
        known = self._node.conditions
        if unknown := [name for name in request.cameras if name not in known]:
            self._say(request.asker, f"unknown camera {unknown[0]!r}; this node has {', '.join(known)}", ok=False)
        elif request.name == "reload":
            asker = request.asker
            self._reloader.ask(lambda ok, text: self._say(asker, text, ok=ok))
        elif request.name == "detect-now":
            self._detect_now(request, known)
        elif request.name == "set-power-mode":
            self._set_power_mode(request)
        else:
            self._pause(request, list(known))

    def _detect_now(self, request: Request, known: dict[str, CameraCondition]) -> None:
        cameras = request.cameras or tuple(known)
        self._node.detect_now(cameras)
        blind = [f"{name} is {known[name]}" for name in cameras if known[name] != "online"]
        text = f"the whole next frame is searched: {', '.join(cameras)}"
        self._say(request.asker, "; ".join([text, *blind]), ok=len(blind) < len(cameras))

    def _pause(self, request: Request, known: list[str]) -> None:
        """In a thread: the file is written through to the disk."""
        folder = self._pause_folder
        if folder is None:
            self._say(request.asker, "not available: this run keeps nothing in a state folder", ok=False)
            return
        whom = ", ".join(request.cameras) or "all cameras"

        def pause() -> str:
            for_ns = None if request.for_s is None else request.for_s * 1_000_000_000
            ask_pause(folder, request.cameras, for_ns, by=ASKED_BY, known=known, now=moment())
            until = "until resumed" if request.for_s is None else f"for {request.for_s} s"
            return f"pause of {whom} {until} is asked for; the topic privacy tells when they are closed"

        def resume() -> str:
            ask_resume(folder, request.cameras, known=known, now=moment())
            return f"{whom} may be opened again"

        self._pauser = request.asker
        self._pausing.start(pause if request.name == "pause" else resume)

    def _set_power_mode(self, request: Request) -> None:
        """In a thread: cores that go on and off take seconds."""
        if self._mode_setting.busy:
            self._say(request.asker, "busy: another power mode is being set", ok=False)
            return
        self._mode_asker = request.asker
        self._mode_setting.start(lambda: self._ask_mode(request.mode))

    def _tell(self, done: str | Exception | None, asker: Asker) -> None:
        """What became of an errand, once it has ended."""
        if done is None:
            return
        failed = isinstance(done, Exception)
        text = str(done) if not failed or isinstance(done, EdgeFerError) else f"{type(done).__name__}: {done}"
        self._say(asker, text, ok=not failed)

    def _say(self, asker: Asker, text: str, *, ok: bool) -> None:
        if self._replies:
            self._replies.say(Outcome(asker, ok, text))
