"""What several tests need: the sample clip, generated clips and pictures."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from edge_fer.capture.open import SAMPLE_CLIP

# The same examples in each run, however slow the machine is: what fails is a change of the code, not a draw of lots.
settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

# A shell gives what it runs in the background a Ctrl-C and a Ctrl-\ that are ignored, and nohup does so with the end of
# the terminal; children would inherit that.
for _signum, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _handler)

# Where TensorFlow is loaded first, tflite-runtime can make no interpreter any more; the other way round both work.
with suppress(ImportError):  # from Python 3.12 on there is no tflite-runtime
    import tflite_runtime.interpreter  # noqa: F401

SHARED_MEDIA = Path(__file__).parents[2] / "shared" / "media"


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons of tests, children too, remember nothing of others."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that every user may enter; those of pytest are closed again whenever somebody else starts a pytest."""
    with tempfile.TemporaryDirectory(prefix="edge-fer-test-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="session")
def sample_clip() -> Path:
    assert SAMPLE_CLIP.exists(), "the sample clip is missing: run `make models`"
    return SAMPLE_CLIP


@pytest.fixture(scope="session")
def media() -> Path:
    if not SHARED_MEDIA.is_dir():
        pytest.skip(f"no folder of clips with faces at {SHARED_MEDIA}: only on the developers' machines")
    return SHARED_MEDIA


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip of plain frames whose brightness counts up by 20."""

    def make(name: str = "clip.avi", frames: int = 5, size: tuple[int, int] = (64, 48), fps: float = 10) -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
        assert writer.isOpened()
        for number in range(frames):
            writer.write(np.full((size[1], size[0], 3), number * 20, np.uint8))
        writer.release()
        return path

    return make
