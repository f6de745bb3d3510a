"""A kill, or a power cut, between any two steps: what follows ends with a release that runs, and no leftovers."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fakeboard import SOON, Board
from signedbundle import bundle, release_of

from deploy.release.releases import tidy
from deploy.release.rollback import rollback
from deploy.release.switch import confirm
from deploy.release.undeploy import undeploy
from deploy.release.work import Checkpoint

OLD, NEW = (b"# the old one\n", b"old\n"), (b"# the new one\n", b"new\n")
BAD = (b"# poison\n", b"new\n")
"""Configuration and password; with the last, any release crashes, and with the old ones it would not."""

Act = Callable[[Checkpoint], int]


class Story:
    """A board, and what is done to it; its disk can be kept at any moment, and brought back."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board, self._folder = Board(folder, monkeypatch), folder
        self.old, self.new = (bundle(folder, self.board.signer, version=version) for version in ("0.1.0", "0.2.0"))

    def install(self, path: Path, settings: Sequence[bytes], checkpoint: Checkpoint | None = None) -> int:
        """A bundle, with configuration and password."""
        config, password = self._folder / "given.toml", self._folder / "given-password"
        config.write_bytes(settings[0])
        password.write_bytes(settings[1])
        return self.board.install(path, checkpoint, config=config, password=password)

    def kept_at_each_step(self, act: Act) -> list[tuple[str, Path]]:
        """The disk at each checkpoint: what a kill there leaves."""
        kept: list[tuple[str, Path]] = []

        def keep(name: str) -> None:
            copy = self._folder / f"{len(kept):02}-{name}"
            shutil.copytree(self.board.root, copy, symlinks=True)
            kept.append((name, copy))

        act(keep)
        return kept

    def back_to(self, copy: Path, *, power_cut: bool) -> None:
        """The disk as it was; what ran goes on, or is started as at a boot."""
        shutil.rmtree(self.board.root)
        shutil.copytree(copy, self.board.root, symlinks=True)
        if power_cut:
            self.board.reboot()

    def confirm(self) -> int:
        """What the board does by itself."""
        work = self.board.work()
        tidy(work)
        return confirm(work)

    def settings(self) -> tuple[bytes, bytes]:
        """Those on the board."""
        return self.board.layout.config.read_bytes(), self.board.layout.password.read_bytes()

    def check(self, expected: dict[str, tuple[bytes, bytes]]) -> str:
        """One of these releases runs, with its settings, all that belongs to it, and nothing else; which."""
        board = self.board
        for _ in range(6):  # it lives a step each
            board.unit()
        name = board.running
        assert name in expected, board.unit()
        assert board.current == name == board.state["current"]
        assert self.settings() == expected[name]
        assert board.unit_file().split()[2] == name.partition("-")[0]
        assert board.unit()["UnitFileState"] == "enabled"
        assert board.state["pending"] is None
        assert board.leftovers() == []
        whole = sorted(path.name for path in board.layout.releases.iterdir())
        assert name in whole
        assert board.state["previous"] in (None, *whole)
        return name


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    return Story(tmp_path, monkeypatch)


def test_first_installation(story: Story) -> None:
    new = release_of(story.new)
    kept = story.kept_at_each_step(lambda checkpoint: story.install(story.new, NEW, checkpoint))
    assert story.check({new: NEW}) == new
    assert {"unpacked", "pending", "switched", "started", "confirmed"} <= {name for name, _ in kept}
    confirmed = 0
    for name, copy in kept:
        story.back_to(copy, power_cut=True)
        story.confirm()
        if story.board.current:
            story.check({new: NEW})
            confirmed += 1
        else:  # nothing was switched on yet, and nothing is left on
            assert story.board.unit_file() == "", name
            assert not story.board.layout.command_link.is_symlink(), name
            assert story.board.leftovers() == [], name
        assert story.install(story.new, NEW) == 0, f"{name}: {story.board.said}"
        assert story.check({new: NEW}) == new, name
    assert 3 <= confirmed < len(kept)


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
def test_upgrade(story: Story, *, power_cut: bool) -> None:
    old, new = release_of(story.old), release_of(story.new)
    assert story.install(story.old, OLD) == 0
    kept = story.kept_at_each_step(lambda checkpoint: story.install(story.new, NEW, checkpoint))
    assert story.check({new: NEW}) == new
    seen = {}
    for name, copy in kept:
        story.back_to(copy, power_cut=power_cut)
        story.confirm()
        seen[name] = story.check({old: OLD, new: NEW})
    assert seen["settings-changed"] == old
    assert seen["switched"] == seen["started"] == seen["confirmed"] == new
    for name, copy in kept[::3]:
        story.back_to(copy, power_cut=power_cut)
        assert story.install(story.new, NEW) == 0, f"{name}: {story.board.said}"
        assert story.check({new: NEW}) == new, name


@pytest.mark.parametrize("power_cut", [False, True], ids=["kill", "power cut"])
def test_upgrade_that_fails(story: Story, *, power_cut: bool) -> None:
    old, bad = release_of(story.old), release_of(story.new)
    assert story.install(story.old, OLD) == 0
    kept = story.kept_at_each_step(lambda checkpoint: story.install(story.new, BAD, checkpoint))
    assert story.check({old: OLD}) == old
    begun = [name for name, _ in kept].index("kept")
    for name, copy in kept[begun:]:
        story.back_to(copy, power_cut=power_cut)
        flagged = story.board.layout.pending_flag.exists()
        assert story.confirm() == (1 if flagged else 0), name
        assert story.check({old: OLD}) == old, name
        assert (bad in [failure["release"] for failure in story.board.state["failed"]]) or name == "kept"


def test_rollback(story: Story) -> None:
    old, new = release_of(story.old), release_of(story.new)
    assert story.install(story.old, OLD) == 0
    assert story.install(story.new, NEW) == 0
    before, after = {new: NEW}, {old: (OLD[0], NEW[1])}  # a password is not a matter of releases

    def back(checkpoint: Checkpoint) -> int:
        return rollback(story.board.work(checkpoint), None, SOON, its_config=True)

    kept = story.kept_at_each_step(back)
    assert story.check(after) == old
    for name, copy in kept:
        for power_cut in (False, True):
            story.back_to(copy, power_cut=power_cut)
            story.confirm()
            ran = story.check({**before, **after})
            assert (ran == new) == (name in ("kept", "pending", "settings-changed", "units-written", "units-loaded")), (
                name
            )


def test_removal(story: Story) -> None:
    assert story.install(story.old, OLD) == 0
    kept = story.kept_at_each_step(lambda checkpoint: undeploy(story.board.work(checkpoint), purge=False))
    for _, copy in kept:
        story.back_to(copy, power_cut=True)
        assert undeploy(story.board.work(), purge=False) == 0
        assert not story.board.layout.home.exists()
        assert story.board.unit_file() == ""
        assert story.settings() == OLD


def test_a_state_file_that_is_damaged(story: Story) -> None:
    assert story.install(story.old, OLD) == 0
    assert story.install(story.new, NEW) == 0
    for damage in (b"", b"{", b"[]", json.dumps({"current": 1}).encode(), os.urandom(100)):
        story.board.layout.state_file.write_bytes(damage)
        assert story.confirm() == 0
        assert story.install(story.new, NEW) == 0
        assert "nothing to do" in story.board.said
