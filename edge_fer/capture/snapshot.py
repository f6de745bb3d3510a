"""Cameras that give one picture per request: `http://host/snapshot.jpg`, fetched once a second."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2
import numpy as np

from edge_fer.capture.source import Picture, checked
from edge_fer.capture.uri import CameraUri
from edge_fer.errors import CameraError

PERIOD_S = 1.0
TIMEOUT_S = 5.0
"""Of each step of a request, and of a whole one."""

MAX_BYTES = 20_000_000
MIN_READ_BYTES = 65536

_SNAPSHOT = re.compile(r"\.(jpe?g|png)$|/snapshot(\.\w+)?$", re.IGNORECASE)


def is_snapshot(url: str) -> bool:
    """Whether an address names one picture: it ends in .jpg, .jpeg, .png or snapshot, or asks for `action=snapshot`."""
    parts = urlsplit(url)
    return parts.scheme.lower() in ("http", "https") and (
        bool(_SNAPSHOT.search(parts.path)) or "action=snapshot" in parts.query.lower()
    )


class Snapshots:
    """Pictures that are asked for one by one; basic and digest passwords."""

    finite = False
    lossless = False

    def __init__(self, uri: CameraUri, *, period_s: float = PERIOD_S) -> None:
        self._name, self._period_s = str(uri), period_s
        self._aborted = threading.Event()
        parts = urlsplit(uri.target)
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        logins = urllib.request.HTTPPasswordMgrWithPriorAuth()
        if parts.username is not None:
            login = (unquote(parts.username), unquote(parts.password or ""))
            logins.add_password(None, self._url, *login)  # None: any realm
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPBasicAuthHandler(logins), urllib.request.HTTPDigestAuthHandler(logins)
        )

    def pictures(self) -> Iterator[Picture]:
        """One picture a second; a picture that comes late is followed at once."""
        due_s = time.monotonic()
        while not self._aborted.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._period_s, time.monotonic())
            body = self._fetch()
            if self._aborted.is_set():
                return
            image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) if body else None
            if image is None:
                raise CameraError(f"{self._name}: what comes is no picture")
            yield Picture(checked(np.asarray(image, np.uint8), self._name), None, None)

    def _fetch(self) -> bytes:
        until_s = time.monotonic() + TIMEOUT_S
        body = bytearray()
        try:
            with self._opener.open(self._url, timeout=TIMEOUT_S) as answer:
                if answer.headers.get_content_maintype() == "multipart":
                    raise CameraError(f"{self._name}: this address gives a stream, not one picture")
                while not self._aborted.is_set() and (part := answer.read1(MIN_READ_BYTES)):
                    body += part
                    if len(body) > MAX_BYTES or time.monotonic() > until_s:
                        raise CameraError(f"{self._name}: the picture does not end ({len(body)} bytes so far)")
        except urllib.error.HTTPError as err:
            err.close()
            hint = ": check user name and password" if err.code == 401 else ""  # noqa: PLR2004
            raise CameraError(f"{self._name}: {err.code} {err.reason}{hint}") from None
        except urllib.error.URLError as err:
            raise CameraError(f"{self._name}: {err.reason}") from None
        except (OSError, HTTPException) as err:
            raise CameraError(f"{self._name}: {err}") from None
        return bytes(body)

    def abort(self) -> None:
        """Takes effect within the timeout of a request."""
        self._aborted.set()

    def close(self) -> None:
        """Nothing is held open."""
        self._aborted.set()
