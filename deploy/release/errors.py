"""What this program raises on purpose, with the exit code that goes with it."""

import os


class ReleaseError(Exception):
    """Root of all errors with a message for the user, of one line or several."""

    exit_code = 1


class UnavailableError(ReleaseError):
    """Something on this board that the work needs is missing, busy, or does not work."""

    exit_code = os.EX_UNAVAILABLE


class ConfigError(ReleaseError):
    """The configuration is wrong."""

    exit_code = os.EX_CONFIG
