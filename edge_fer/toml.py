"""TOML files and the tables in them, with errors that a user understands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from edge_fer.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Settings(BaseModel):
    """Base of all tables: unknown keys are errors, strings are not numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a file; ConfigError names the file and what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({err.reason} at byte {err.start})") from err
    except ValueError as err:  # besides those of TOML itself: a number of thousands of digits
        raise ConfigError(f"{path}: not valid TOML ({err})") from err
    except RecursionError as err:
        raise ConfigError(f"{path}: not valid TOML (nested too deeply)") from err
