"""The arm64 machine, or a skip that says what is missing; brokers and records outside of it."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from arm64_image import Image, arm64_image, why_it_cannot_be_built
from arm64_machine import Machine, why_it_cannot_run
from outside_record import why_there_is_no_record
from realbrokers import MOSQUITTO, Mosquitto


@pytest.fixture(scope="session")
def image() -> Image:
    lacking = why_it_cannot_run() or why_it_cannot_be_built()
    if lacking:
        pytest.skip(f"no arm64 machine here, NOTHING of it tested: {lacking}")
    return arm64_image()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a short name: it holds a socket."""
    with tempfile.TemporaryDirectory(prefix="edge-fer-vm-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def outside(folder: Path) -> Iterator[Mosquitto]:
    """The broker on the host, which stays on while machines come and go."""
    lacking = "apt-get install mosquitto" if MOSQUITTO is None else why_there_is_no_record()
    if lacking:
        pytest.skip(f"no broker for the arm64 machine here, NOTHING of it tested: {lacking}")
    broker = Mosquitto(folder).start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def machine(image: Image, folder: Path, outside: Mosquitto) -> Iterator[Machine]:
    """One for all tests of a module, switched on."""
    one = Machine(image, folder / "machine", broker_port=outside.port)
    try:
        print(f"the arm64 machine lets us in after {one.start():.0f} s")  # noqa: T201
        yield one
    finally:
        one.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the machine says of a test that failed: it is gone afterwards."""
    report = yield
    if report.when == "call" and report.failed:
        for value in getattr(item, "funcargs", {}).values():
            machine = value if isinstance(value, Machine) else getattr(value, "machine", None)
            if isinstance(machine, Machine):
                report.sections += [("journal of the machine", machine.journal()), ("console", machine.said()[-4000:])]
                break
    return report
