"""The cache that the emulated tests rest on, and when they are skipped instead of failed. Nothing is emulated here."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from armcache import CACHE_VARIABLE, UNUSED_DAYS, Unavailable, cached, fetch_by
from armtrial import all_trials, old_trials, untested

from deploy.wheelset import WHEELS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not" / "there"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


def says(text: str, exit_code: int = 100) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({text!r}, file=sys.stderr); sys.exit({exit_code})"]


def test_an_entry_is_made_once_also_for_many_at_a_time(cache: Path) -> None:
    made = []

    def make(folder: Path) -> None:
        time.sleep(0.05)
        made.append(folder)
        (folder / "file").write_text("content")

    with ThreadPoolExecutor(8) as pool:
        (entry,) = set(pool.map(lambda _: cached("root", "recipe", make), range(8)))
    assert (entry / "file").read_text() == "content"
    assert len(made) == 1
    assert list(cache.iterdir()) == [entry]


def test_another_recipe_makes_another_entry(cache: Path) -> None:
    first, second = (cached("root", recipe, lambda folder: (folder / "file").touch()) for recipe in ("one", "two"))
    assert first != second
    assert sorted(cache.iterdir()) == sorted([first, second])


def test_one_whose_making_fails_is_not_there(cache: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise Unavailable("the mirror")

    with pytest.raises(Unavailable, match="the mirror"):
        cached("root", "recipe", make)
    assert list(cache.iterdir()) == []


def test_what_nobody_uses_any_more_is_thrown_away(cache: Path) -> None:
    old, similar, other = (cached(name, "old", Path.touch) for name in ("root", "roots", "other"))
    young = cached("root", "young", Path.touch)
    (left := cache / ".root-killed").mkdir()
    long_ago_s = time.time() - (UNUSED_DAYS + 1) * 86_400
    for path in (old, other, left):
        os.utime(path, (long_ago_s, long_ago_s))
    new = cached("root", "new", Path.touch)
    assert set(cache.iterdir()) == {young, similar, other, new}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("E: Could not connect to 192.0.2.1:80", "what: the registry cannot be reached"),
        ("Retrying after NewConnectionError: Temporary failure in name resolution", "what: the registry cannot be"),
        ("W: GPG error: NO_PUBKEY 6ED0E7B82643E131", "what: install the key"),
    ],
)
def test_what_this_machine_lacks_is_told_from_what_is_wrong(said: str, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        fetch_by(says(said), "what", cures={"NO_PUBKEY": "install the key"})


def test_any_other_failure_is_one_and_shows_what_was_said() -> None:
    with pytest.raises(RuntimeError, match="No matching distribution found"):
        fetch_by(says("ERROR: No matching distribution found for numpy==9"), "what")
    fetch_by(says("W: NO_PUBKEY, but it went well", exit_code=0), "what", cures={"NO_PUBKEY": "install the key"})


def test_a_missing_program_names_its_package() -> None:
    with pytest.raises(Unavailable, match="apt-get install mmdebstrap-not-there"):
        fetch_by(["mmdebstrap-not-there"], "what")


def test_every_wheel_set_of_an_arm_board_is_tried_and_old_ones_on_an_old_glibc() -> None:
    trials = all_trials()
    assert len(trials) == len(set(trials))
    assert {trial.set_key for trial in trials} == {path.stem for path in WHEELS.glob("*aarch64*.txt")}
    assert {trial.cpu for trial in trials} >= {"cortex-a57", "cortex-a72", "cortex-a76"}
    assert {trial.set_key for trial in old_trials(trials)} == {"cp310-aarch64-glibc2.27", "cp310-aarch64-glibc2.31"}


def test_a_stand_in_is_never_passed_off_as_the_set_itself() -> None:
    assert "NOT RUN" in untested("cp312-aarch64-glibc2.39")
    jetson_nano = untested("cp310-aarch64-glibc2.27")
    assert "2.14.0 instead of 2.13.0" in jetson_nano
    assert "glibc 2.27 itself was not tried" in jetson_nano
    assert untested("cp311-aarch64-glibc2.36") == untested("cp313-aarch64-glibc2.41") == ""
    for trial in all_trials():
        assert trial.stands_in == bool(untested(trial.set_key)) == ("stands-in" in str(trial))
