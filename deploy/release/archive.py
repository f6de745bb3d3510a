"""Where this program itself is."""

from pathlib import Path
from typing import Optional


def own_archive() -> Optional[Path]:
    """The zipapp that runs; None where it runs from a checkout."""
    return next((path for path in Path(__file__).parents if path.is_file()), None)
