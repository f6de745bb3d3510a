"""The programs of a board: all that this program does to it besides writing files."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import List, Mapping, NamedTuple, Optional

SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
NOT_FOUND, TIMED_OUT = 127, 124
"""Exit codes of shells and of timeout(1) for a program that is not there, and for one that does not end."""


class Done(NamedTuple):
    """How a program ended."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def last(self) -> str:
        """The last line that it said, which is where most programs tell what is wrong."""
        lines = [line.strip() for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with {self.code} and said nothing"


class Host:
    """Runs programs, and waits; never raises for what a program does."""

    def __init__(self, path: Optional[str] = None) -> None:
        """Programs are looked for in `path`, by default the PATH and where systems keep what is root's."""
        given = os.environ.get("PATH", "") if path is None else path
        folders = [folder for folder in given.split(os.pathsep) if os.path.isabs(folder)]
        self.path = os.pathsep.join(
            folders + [folder for folder in SYSTEM_PATH if path is None and folder not in folders]
        )

    def which(self, program: str) -> Optional[str]:
        """Where a program is; None where it is not."""
        return shutil.which(program, path=self.path)

    def run(self, *words: str, timeout_s: float = 60.0) -> Done:
        """Run a program to its end, its output caught; its messages are in English."""
        environ = {**os.environ, "PATH": self.path, "LC_ALL": "C"}
        program = words[0] if os.path.isabs(words[0]) else self.which(words[0])
        if program is None:
            return Done(NOT_FOUND, err=f"{words[0]} is not installed")
        try:
            child = subprocess.Popen(
                [program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environ,
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is not for it
            )
        except OSError as err:
            return Done(NOT_FOUND, err=f"{program}: {err.strerror}")
        try:
            out, complained = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return Done(TIMED_OUT, err=f"{words[0]} gave no answer within {timeout_s:g} s")
        return Done(child.returncode, out.decode("utf-8", "replace"), complained.decode("utf-8", "replace"))

    def run_as(self, user: str, words: List[str], environ: Mapping[str, str], timeout_s: float) -> Done:
        """Run a program as another user, with nothing of this environment. Nothing secret may be in `environ`."""
        given = [f"{name}={value}" for name, value in sorted({"PATH": self.path, **environ}.items())]
        return self.run("runuser", "-u", user, "--", "env", "-i", *given, *words, timeout_s=timeout_s)

    def give(self, path: Path, user: str, group: str) -> None:
        """Change owner and group; raises OSError where that does not work."""
        done = self.run("chown", f"{user}:{group}", str(path))
        if done.code:
            raise OSError(f"{path} cannot be given to {user}:{group}: {done.last}")

    def monotonic_s(self) -> float:
        """For waiting."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def unix_s(self) -> float:
        """The time of the board's clock, which may be years off."""
        return time.time()
