"""Everything edge-fer raises on purpose, and the exit code that goes with it."""

from __future__ import annotations

import os


class EdgeFerError(Exception):
    """Root of all errors with a message for the user: what was found where, and what would be right."""

    exit_code = 1


class UsageError(EdgeFerError, ValueError):
    """The command line asks for something that does not exist."""

    exit_code = 2


class UnavailableError(EdgeFerError, OSError):
    """Something the work needs (a camera, a file, a broker, a model) is missing, unreadable or broken."""

    exit_code = os.EX_UNAVAILABLE


class ModelError(UnavailableError):
    """A model file or its card is missing, damaged, or cannot run fast on this machine."""


class CameraError(UnavailableError):
    """A camera or clip cannot be opened, or what it holds is no picture."""


class SensorError(UnavailableError):
    """A sensor exists but cannot be read; the message names its file."""


class ConfigError(EdgeFerError, ValueError):
    """The configuration is wrong; the message names file and key."""

    exit_code = os.EX_CONFIG
