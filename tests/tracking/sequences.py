"""Sequences of people who move, with known truth: as numbers only, or with photos of faces moved over a background."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from drawn_faces import face_at
from metrics import Figures, Truth, measure

from edge_fer.detect import FaceDetector
from edge_fer.frame import Box, Face, Frame
from edge_fer.tracking.follow import FaceFollower, Search
from edge_fer.tracking.search import REGION_SIDES, DetectorSettings, SearchPlan, plan_search

WIDTH, HEIGHT = 1280, 720

HIDDEN_SHARE = 0.4
"""A face of which more is covered by another or by a bar, or beyond the border, need not be found."""


class Person(NamedTuple):
    name: str
    at: Callable[[float], tuple[float, float, float]]  # seconds -> centre x, y and side of the box; any place, px


@dataclass(frozen=True)
class Scenario:
    name: str
    people: Sequence[Person]  # the first is nearest to the camera and covers the others
    seconds: float = 6
    fps: float = 24
    bars: Sequence[Box] = ()  # before everybody
    dropped: Callable[[int], bool] = field(default=lambda _number: False)  # frames that never arrive

    def times(self) -> Iterator[tuple[int, float]]:
        for number in range(round(self.seconds * self.fps)):
            if not self.dropped(number):
                yield number, number / self.fps

    def truth(self, seconds: float) -> Truth:
        """Who is visible and who is hidden; who is wholly outside is neither."""
        boxes = {}
        for person in self.people:
            x, y, size = person.at(seconds)
            boxes[person.name] = Box(x - size / 2, y - size / 2, size, size)
        visible, hidden = {}, {}
        nearer = list(self.bars)
        for name, box in boxes.items():
            covered = max([_covered(box, other) for other in nearer] + [1 - _covered(box, Box(0, 0, WIDTH, HEIGHT))])
            if covered < HIDDEN_SHARE:
                visible[name] = box
            elif covered < 1:
                hidden[name] = box
            nearer.append(box)
        return Truth(visible, hidden)


def _covered(box: Box, other: Box) -> float:
    width = min(box.left + box.width, other.left + other.width) - max(box.left, other.left)
    height = min(box.top + box.height, other.top + other.height) - max(box.top, other.top)
    return max(0.0, width) * max(0.0, height) / (box.width * box.height)


def walk(
    x: float, y: float, size: float, speed: float, *, bob: float = 0.05, grow: float = 0.0
) -> Callable[[float], tuple[float, float, float]]:
    """Across the picture in px/s, the head going up and down twice a second, growing by a share of its size."""

    def at(seconds: float) -> tuple[float, float, float]:
        now = size * (1 + grow * seconds)
        return x + speed * seconds, y + bob * now * math.sin(4 * math.pi * seconds), now

    return at


def sway(x: float, y: float, size: float, phase: float = 0.0) -> Callable[[float], tuple[float, float, float]]:
    """Sitting, moving a little."""
    return lambda seconds: (
        x + 0.3 * size * math.sin(1.3 * seconds + phase),
        y + 0.15 * size * math.sin(2.1 * seconds + 2 * phase),
        size * (1 + 0.04 * math.sin(0.9 * seconds + phase)),
    )


def meet(
    x: float, y: float, size: float, reach: float, period_s: float = 6
) -> Callable[..., tuple[float, float, float]]:
    """To a meeting place and back again: no speed tells who is who afterwards."""
    return lambda seconds: (x + reach * (1 - math.cos(2 * math.pi * seconds / period_s)) / 2, y, size)


def _crowd(count: int, columns: int, size: float) -> list[Person]:
    """Rows of people; those below sit in front."""
    across, down = WIDTH / columns, HEIGHT / math.ceil(count / columns)
    return [
        Person(str(number), sway((number % columns + 0.5) * across, (number // columns + 0.5) * down, size, number))
        for number in reversed(range(count))
    ]


def _every_third_missing(number: int) -> bool:
    return number % 3 == 1 or 40 <= number < 52  # and half a second without any


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("crossing", [Person("a", walk(150, 360, 150, 220)), Person("b", walk(1130, 345, 125, -200))], 5),
        Scenario(
            "crossing fast", [Person("a", walk(100, 360, 150, 480)), Person("b", walk(1180, 350, 135, -430))], 2.4
        ),
        Scenario("overtaking", [Person("a", walk(100, 360, 150, 450)), Person("b", walk(420, 345, 120, 110))], 2.5),
        Scenario("bar", [Person("a", walk(150, 360, 140, 250))], 4, bars=[Box(560, 0, 172, HEIGHT)]),
        Scenario(
            "two behind a bar",
            [Person("a", walk(150, 300, 130, 250)), Person("b", walk(1130, 430, 130, -240))],
            4,
            bars=[Box(560, 0, 172, HEIGHT)],
        ),
        Scenario(
            "coming and going", [Person("a", walk(-100, 360, 150, 300)), Person("b", walk(1800, 300, 130, -350))], 5
        ),
        Scenario("approaching", [Person("a", walk(500, 330, 70, 40, grow=0.5)), Person("b", sway(900, 350, 110))], 5),
        Scenario("frame drops", _crowd(4, 2, 130), 5, dropped=_every_third_missing),
        Scenario("four frames a second", _crowd(4, 2, 130), 8, fps=4),
        Scenario("twenty faces", _crowd(20, 5, 92), 5),
        Scenario("meeting", [Person("a", meet(250, 360, 140, 330)), Person("b", meet(1030, 350, 130, -330))], 6),
    )
}


class NoisySearch:
    """Finds the truth, but not always, not exactly, and sometimes what is not there. No picture is looked at."""

    def __init__(self, scenario: Scenario, seed: int = 0, *, missed: float = 0.05, false: float = 0.01) -> None:
        self._scenario, self._rng = scenario, np.random.default_rng(seed)
        self._missed, self._false = missed, false
        self.seconds = 0.0

    def plan(self, width_px: int, height_px: int) -> SearchPlan:
        return plan_search(DetectorSettings(), width_px, height_px)

    def whole(self, bgr: npt.NDArray[np.uint8], plan: SearchPlan) -> list[Face]:  # noqa: ARG002
        faces = self._found(0.005, 1.0)
        if self._rng.random() < self._false:
            x, y = self._rng.uniform(0, WIDTH), self._rng.uniform(0, HEIGHT)
            faces.append(face_at(x, y, self._rng.uniform(50, 150)))
        return faces

    def near(self, bgr: npt.NDArray[np.uint8], box: Box) -> list[Face]:  # noqa: ARG002
        reach = REGION_SIDES * box.width / 2
        x, y = box.centre
        return [
            face
            for face in self._found(0.01, 1.02)
            if max(abs(face.box.centre[0] - x), abs(face.box.centre[1] - y)) + face.box.width / 2 < reach
        ]

    def _found(self, noise: float, scale: float) -> list[Face]:
        """Each detector has its own noise and its own idea of a box."""
        faces = []
        for box in self._scenario.truth(self.seconds).visible.values():
            if self._rng.random() >= self._missed:
                size = box.width * scale * math.exp(self._rng.normal(0, noise))
                x, y = np.array(box.centre) + self._rng.normal(0, noise, 2) * size
                faces.append(face_at(x - size / 2, y - size / 2, size))
        return faces


def follow_numbers(scenario: Scenario, search: NoisySearch, settings: DetectorSettings | None = None) -> Figures:
    """The follower on a search that looks at no picture."""
    black = np.broadcast_to(np.uint8(0), (HEIGHT, WIDTH, 3))

    def picture(seconds: float) -> npt.NDArray[np.uint8]:
        search.seconds = seconds
        return black

    return _follow(scenario, search, picture, settings)


def follow_photos(
    scenario: Scenario, search: Search, stage: PhotoStage, settings: DetectorSettings | None = None
) -> Figures:
    """The follower on generated pictures, with real detectors."""
    return _follow(scenario, search, lambda seconds: stage.picture(scenario, seconds), settings)


def _follow(
    scenario: Scenario,
    search: Search,
    picture: Callable[[float], npt.NDArray[np.uint8]],
    settings: DetectorSettings | None,
) -> Figures:
    follower = FaceFollower(search, settings)
    truths, followed = [], []
    for number, seconds in scenario.times():
        now = follower.follow(Frame(scenario.name, number, round(seconds * 1e9), 0, picture(seconds)))
        truths.append(scenario.truth(seconds))
        followed.append({seen.track.id: seen.face.box for seen in now.found})
    return measure(truths, followed)


class Cutout(NamedTuple):
    """A head cut out of a photo, with the place of the face in it."""

    bgr: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.float32]  # (height, width, 1)
    box: Box


class PhotoStage:
    """Draws people as photos of heads before a background."""

    def __init__(self, photos: Sequence[npt.NDArray[np.uint8]], background: npt.NDArray[np.uint8]) -> None:
        detector = FaceDetector("full")
        self._heads = [_cut_out(photo, face.box) for photo in photos for face in detector.detect(photo)]
        self._background = np.asarray(cv2.resize(background, (WIDTH, HEIGHT)), np.uint8)

    def starting_with(self, first: int) -> PhotoStage:
        """The same, but with other heads on the same people."""
        other = copy.copy(self)
        other._heads = self._heads[first:] + self._heads[:first]
        return other

    def picture(self, scenario: Scenario, seconds: float) -> npt.NDArray[np.uint8]:
        bgr = self._background.copy()
        for number, person in reversed(list(enumerate(scenario.people))):
            _paste(bgr, self._heads[number % len(self._heads)], *person.at(seconds))
        for bar in scenario.bars:
            left, top, right, bottom = (int(value) for value in (*bar[:2], bar.left + bar.width, bar.top + bar.height))
            bgr[top:bottom, left:right] = (60, 90, 80)
        return bgr


def _cut_out(photo: npt.NDArray[np.uint8], box: Box) -> Cutout:
    """The head, and the shoulders as far as they are in the photo."""
    x, y = box.centre
    size = max(box.width, box.height)
    left, right = max(0, int(x - 0.95 * size)), min(photo.shape[1], int(x + 0.95 * size))
    top, bottom = max(0, int(y - 1.1 * size)), min(photo.shape[0], int(y + 1.7 * size))
    part = np.asarray(photo[top:bottom, left:right], np.uint8)
    height, width = part.shape[:2]
    mask = np.zeros((height, width), np.float32)
    middle, half = (int(x - left), int(y - top)), int(0.8 * size)
    cv2.ellipse(mask, middle, (half, int(size)), 0, 0, 360, 1, -1)
    cv2.rectangle(mask, (0, int(y - top + 0.75 * size)), (width, height), 1, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.05 * size), np.float32)
    return Cutout(part, mask[:, :, None], box.moved(-left, -top))


def _paste(bgr: npt.NDArray[np.uint8], head: Cutout, x: float, y: float, size: float) -> None:
    """Draw a head, its face box of this size and centre."""
    scale = size / max(head.box.width, head.box.height)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = cv2.resize(head.bgr, None, fx=scale, fy=scale, interpolation=way)
    mask = cv2.resize(head.mask, (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)[:, :, None]
    face_x, face_y = head.box.centre
    left, top = round(x - face_x * scale), round(y - face_y * scale)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(bgr.shape[1], left + part.shape[1]), min(bgr.shape[0], top + part.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    over, share = (image[y0 - top : y1 - top, x0 - left : x1 - left] for image in (part, mask))
    bgr[y0:y1, x0:x1] = (over * share + bgr[y0:y1, x0:x1] * (1 - share)).astype(np.uint8)
