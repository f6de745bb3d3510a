"""An MJPEG camera over HTTP: a moving pattern, or a clip in a loop, and the ways such cameras fail.

    GET /stream          multipart/x-mixed-replace
    GET /snapshot.jpg    one picture
    GET /mode/NAME       from now on, for all who are connected too (no password needed):
        normal   pictures that change
        freeze   the same picture for ever
        dark     black pictures
        stall    the connection stays, nothing comes
        garbage  random bytes instead of the stream
        corrupt  proper parts whose pictures are damaged

Prints "ready PORT" once it listens.
"""

from __future__ import annotations

import argparse
import base64
import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import cv2
import numpy as np

BOUNDARY = "edgeferframe"
MODES = ("normal", "freeze", "dark", "stall", "garbage", "corrupt")
LOOP_FRAMES = 30
MAX_CLIP_FRAMES = 500


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    jpegs: ClassVar[list[bytes]]
    dark: ClassVar[bytes]
    fps: ClassVar[float]
    mode: ClassVar[str]
    expected: ClassVar[str | None]

    def do_GET(self) -> None:
        if self.path.startswith("/mode/"):
            self._switch(self.path.removeprefix("/mode/"))
        elif self.expected and self.headers.get("Authorization") != self.expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        elif self.path.startswith("/stream"):
            self._stream()
        elif self.path.startswith("/snapshot.jpg"):
            self._answer("image/jpeg", self._picture(int(time.monotonic() * self.fps)))
        else:
            self.send_error(404)

    def _switch(self, mode: str) -> None:
        if mode not in MODES:
            self.send_error(400)
            return
        Handler.mode = mode
        self._answer("text/plain", mode.encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        number, due_s = 0, time.monotonic()
        try:
            while True:
                if self.mode != "stall":
                    self.wfile.write(self._part(number))
                number += 1
                due_s = max(due_s + 1 / self.fps, time.monotonic() - 1)
                time.sleep(max(0.0, due_s - time.monotonic()))
        except OSError:  # the viewer has left
            self.close_connection = True

    def _part(self, number: int) -> bytes:
        if self.mode == "garbage":
            return random.randbytes(20_000)  # noqa: S311 - no secret
        jpeg = self._picture(number)
        if self.mode == "corrupt":
            jpeg = jpeg[:200] + random.randbytes(len(jpeg) - 200)  # noqa: S311 - no secret
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        return head.encode() + jpeg + b"\r\n"

    def _picture(self, number: int) -> bytes:
        if self.mode == "dark":
            return self.dark
        return self.jpegs[0 if self.mode == "freeze" else number % len(self.jpegs)]

    def log_message(self, *_: object) -> None:
        """Quiet."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=float, default=15)
    parser.add_argument("--clip", help="a video to show in a loop, at most its first 500 frames")
    parser.add_argument("--mode", choices=MODES, default="normal")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    login = base64.b64encode(f"{args.user}:{args.password}".encode()).decode()
    Handler.expected = f"Basic {login}" if args.user else None
    Handler.fps, Handler.mode = args.fps, args.mode
    images = clip(args.clip, width, height) if args.clip else pattern(width, height)
    Handler.jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in images]
    Handler.dark = cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    server.daemon_threads = True
    print(f"ready {server.server_port}", flush=True)  # noqa: T201
    server.serve_forever()


def pattern(width: int, height: int) -> list[np.ndarray]:
    """A bright disc that moves over a gradient."""
    ramp = np.linspace(40, 180, width, dtype=np.uint8)
    background = np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2)
    images = []
    for number in range(LOOP_FRAMES):
        x = int(width * (0.2 + 0.6 * number / LOOP_FRAMES))
        images.append(cv2.circle(background.copy(), (x, height // 2), height // 6, (60, 200, 250), -1))
    return images


def clip(path: str, width: int, height: int) -> list[np.ndarray]:
    capture, images = cv2.VideoCapture(path), []
    while len(images) < MAX_CLIP_FRAMES:
        read, image = capture.read()
        if not read:
            break
        images.append(cv2.resize(image, (width, height)))
    return images


if __name__ == "__main__":
    main()
