"""Who is found in an idle room, and when: `python tests/system/arrivals.py PORTRAIT [--widths 0.08 0.12]`.

A portrait is moved through an empty picture from left to right, as somebody who walks past the camera and looks
towards it all the way; or, with --glance, it is there at one place for so long, as somebody who turns the face to the
camera once. All of it is the daemon's own code (inbox, pacing, detectors, tracks), fed 25 frames a second, once for
each of several moments at which somebody may come between two looks. A visit counts as found once its track is
confirmed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

sys.path[:0] = [str(Path(__file__).parents[2])]

from edge_fer.capture.inbox import Inbox  # noqa: E402
from edge_fer.frame import Frame  # noqa: E402
from edge_fer.governor.pacing import Pacing  # noqa: E402
from edge_fer.governor.settings import GovernorSettings  # noqa: E402
from edge_fer.tracking.follow import FaceFollower  # noqa: E402
from edge_fer.tracking.search import FaceSearch  # noqa: E402

WIDTH_PX, HEIGHT_PX, FPS = 640, 480, 25
BEGIN_S = 2.0
"""The room is idle by then."""

PHASES = 12
"""Moments between two looks at which somebody comes."""

AWAKE = GovernorSettings(idle=False)


class Visit(NamedTuple):
    """What was seen of one."""

    found_s: float | None  # after the first picture with any part of the head; None: never
    frames: int  # in which the face was followed and found


def walk(
    portrait: npt.NDArray[np.uint8], face_px: int, seconds: float, late_s: float, *, glance: bool
) -> Iterator[tuple[float, Frame]]:
    """An empty room, and from BEGIN_S + late_s on somebody who crosses it in so many seconds; then 1 s more."""
    empty = np.full((HEIGHT_PX, WIDTH_PX, 3), 110, np.uint8)
    # A head with some shoulder is about twice as wide as its face box.
    head = cv2.resize(portrait, (2 * face_px, round(2 * face_px * portrait.shape[0] / portrait.shape[1])))
    high, wide = min(head.shape[0], HEIGHT_PX - 60), head.shape[1]
    for number in range(round((BEGIN_S + late_s + seconds + 1) * FPS)):
        second = number / FPS
        share = (second - BEGIN_S - late_s) / seconds
        bgr = empty
        if 0 <= share < 1:
            bgr = empty.copy()
            left = (WIDTH_PX - wide) // 2 if glance else round(share * (WIDTH_PX + wide)) - wide
            begin, end = max(0, left), min(WIDTH_PX, left + wide)
            bgr[60 : 60 + high, begin:end] = head[:high, begin - left : end - left]
        yield second, Frame("hall", number, round((100 + second) * 1e9), 0, bgr)


def visit(search: FaceSearch, table: GovernorSettings, frames: Iterator[tuple[float, Frame]], late_s: float) -> Visit:
    """The frames through inbox, pacing and follower, as the pipeline has them."""
    inbox, follower = Inbox(), FaceFollower(search)
    pacing = Pacing(table, inbox.pace)
    found_s, count = None, 0
    for second, frame in frames:
        inbox.put(frame)
        if (taken := inbox.take(0)) is None or not isinstance(taken, Frame):
            continue
        follower.look_every(pacing.looks(taken))
        seen = follower.follow(taken).found
        pacing.note(taken, followed=any(one.confirmed for one in follower.tracks), glimpsed=bool(follower.tracks))
        if seen:
            count += 1
            found_s = second - BEGIN_S - late_s if found_s is None else found_s
    return Visit(found_s, count)


def main() -> None:
    """A line for each rate and speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("--widths", type=float, nargs="+", default=[0.12], help="of the face, of the picture's width")
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.5, 0.7, 1.0, 1.5, 2.0])
    parser.add_argument("--rates", type=float, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--glance", action="store_true", help="at one place, seen for --seconds")
    given = parser.parse_args()
    portrait = cv2.imread(str(given.portrait))
    if portrait is None:
        raise SystemExit(f"{given.portrait}: no picture")
    search = FaceSearch()
    tables = {"awake": AWAKE}
    tables |= {f"{fps:g} fps": GovernorSettings(idle_after_s=1, idle_fps=fps) for fps in given.rates}
    how = "seen for" if given.glance else "across in"
    for width, seconds, (name, table) in itertools.product(given.widths, given.seconds, tables.items()):
        visits = []
        for phase in range(PHASES):
            late_s = phase / PHASES * 0.5
            frames = walk(portrait, round(width * WIDTH_PX), seconds, late_s, glance=given.glance)
            visits.append(visit(search, table, frames, late_s))
        times = [one.found_s for one in visits if one.found_s is not None]
        slowest = f", at the latest after {max(times):.2f} s" if times else ""
        followed = np.mean([one.frames for one in visits])
        sys.stdout.write(
            f"face {width:.0%} of the width, {how} {seconds:g} s, {name}: found {len(times)} of {PHASES}{slowest}, "
            f"followed in {followed:.1f} frames\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
