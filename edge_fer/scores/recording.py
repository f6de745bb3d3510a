"""Reads a recording of scores, and checks every line of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edge_fer.decide import DecideSettings
from edge_fer.errors import UnavailableError
from edge_fer.events import CameraCondition
from edge_fer.frame import Box
from edge_fer.labels import EXPRESSIONS
from edge_fer.look import CameraNews, FaceLook, Look, Observation, Stop, Tick
from edge_fer.readability import Quality
from edge_fer.scores.record import FORMAT, FORMAT_VERSION
from edge_fer.toml import Settings

log = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
UnixNs = Annotated[int, Field(ge=0, le=2**62)]  # until the year 2116


class Header(Settings):
    """The first line of a recording."""

    kind: Literal["header"]
    format: str
    version: int
    edge_fer: str
    node: str
    boot_id: str
    started_unix_ns: UnixNs
    first_seq: int = Field(ge=1)
    cameras: list[str] = Field(min_length=1)
    labels: list[str]
    decide: DecideSettings


class ScoreFile:
    """A recording of scores; iterating gives its observations in order.

    UnavailableError names file and line where it is damaged. A last line that a power cut broke off is left out, and
    so is what the recorder had to drop; both are logged.
    """

    def __init__(self, path: Path) -> None:
        """Reads the header only."""
        self._path = path
        lines = self._lines()
        number, first = next(lines, (1, b""))
        try:
            self.header = Header.model_validate_json(first)
        except ValidationError as err:
            raise self._damage(number, f"no header of a recording of scores; {_first(err)}") from err
        if self.header.format != FORMAT:
            raise self._damage(number, f"found format {self.header.format!r}; right is {FORMAT!r}")
        if self.header.version != FORMAT_VERSION:
            raise self._damage(number, f"format version {self.header.version}; this edge-fer reads {FORMAT_VERSION}")
        if tuple(self.header.labels) != EXPRESSIONS:
            raise self._damage(number, f"scores of other expressions: {', '.join(self.header.labels)}")

    def __iter__(self) -> Iterator[Observation]:
        dropped = 0
        lines = self._lines()
        next(lines)
        for number, text in lines:
            try:
                line = _LINE.validate_json(text)
            except ValidationError as err:
                if not text.endswith(b"\n"):  # only the last line can be without
                    log.warning("%s:%d: the last line is broken off; it is left out", self._path, number)
                    break
                raise self._damage(number, _first(err)) from err
            if isinstance(line, _DroppedLine):
                dropped += line.count
                continue
            if isinstance(line, (_LookLine, _CameraLine)) and line.camera not in self.header.cameras:
                raise self._damage(number, f"camera {line.camera!r} is not among those of the header")
            yield line.seen()
        if dropped:
            log.warning("%s: %d observations were dropped when it was written", self._path, dropped)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        try:
            with self._path.open("rb") as file:
                yield from enumerate(file, start=1)
        except OSError as err:
            raise UnavailableError(f"{self._path}: cannot be read ({err.strerror})") from err

    def _damage(self, line: int, what: str) -> UnavailableError:
        return UnavailableError(f"{self._path}:{line}: {what}")


class _FaceLine(Settings):
    track: int
    box: tuple[Finite, Finite, Finite, Finite]
    quality: Quality
    probabilities: Annotated[tuple[Share, ...], Field(min_length=len(EXPRESSIONS), max_length=len(EXPRESSIONS))] | None

    def seen(self) -> FaceLook:
        return FaceLook(self.track, Box(*self.box), self.quality, self.probabilities)


class _LookLine(Settings):
    kind: Literal["look"]
    time_ns: int
    unix_ns: UnixNs
    camera: str
    seq: int
    clip_ms: Finite | None
    age_ms: Finite
    width_px: int
    height_px: int
    faces: tuple[_FaceLine, ...]
    lost: tuple[int, ...]
    waiting: tuple[int, ...] = ()

    def seen(self) -> Look:
        return Look(
            camera=self.camera,
            seq=self.seq,
            time_ns=self.time_ns,
            unix_ns=self.unix_ns,
            clip_ms=self.clip_ms,
            age_ms=self.age_ms,
            width_px=self.width_px,
            height_px=self.height_px,
            faces=tuple(face.seen() for face in self.faces),
            lost=self.lost,
            waiting=self.waiting,
        )


class _CameraLine(Settings):
    kind: Literal["camera"]
    time_ns: int
    unix_ns: UnixNs
    camera: str
    state: CameraCondition
    reason: str

    def seen(self) -> CameraNews:
        return CameraNews(self.camera, self.state, self.reason, self.time_ns, self.unix_ns)


class _TickLine(Settings):
    kind: Literal["tick"]
    time_ns: int
    unix_ns: UnixNs

    def seen(self) -> Tick:
        return Tick(self.time_ns, self.unix_ns)


class _StopLine(Settings):
    kind: Literal["stop"]
    time_ns: int
    unix_ns: UnixNs
    reason: str

    def seen(self) -> Stop:
        return Stop(self.reason, self.time_ns, self.unix_ns)


class _DroppedLine(Settings):
    kind: Literal["dropped"]
    count: int


_Line = _LookLine | _CameraLine | _TickLine | _StopLine | _DroppedLine
_LINE: TypeAdapter[_Line] = TypeAdapter(Annotated[_Line, Field(discriminator="kind")])


def _first(err: ValidationError) -> str:
    """The first of its errors, with its place in the line."""
    error = err.errors()[0]
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else error["msg"]
