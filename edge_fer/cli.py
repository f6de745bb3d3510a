"""The command line: its commands, and what becomes of their errors."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from edge_fer import __version__
from edge_fer.commands.bench import FRONT_OPTIONS, bench
from edge_fer.commands.cameras import cameras
from edge_fer.commands.check_config import check_config
from edge_fer.commands.demo import demo
from edge_fer.commands.doctor import doctor
from edge_fer.commands.pause import pause, resume
from edge_fer.commands.power_mode import power_mode
from edge_fer.commands.replay import replay
from edge_fer.commands.run import run
from edge_fer.commands.schema import schema
from edge_fer.commands.tune import tune
from edge_fer.commands.watch import watch
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError
from edge_fer.privacy import hide_arguments, hide_password

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what was ended before its work was done, as shells have it; `run` and `demo` end with 0."""

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_HELP: tuple[type[Exception], ...] = tuple(filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)]))
"""What is raised where no command is given, from click 8.2 on; before, help is an ordinary end."""


class _Commands(click.Group):
    """Its first word may be missing where an option tells what is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `bench` in front of its own options, as in `edge-fer --power-mode 15W`."""
        if args[:1] and args[0].startswith("-") and any(arg.partition("=")[0] in FRONT_OPTIONS for arg in args):
            args = ["bench", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-fer")
def cli() -> None:
    """Facial expressions from camera streams to MQTT events.

    `edge-fer --power-mode 15W` measures this board in that power mode, as `edge-fer bench` does.

    Exit codes: 0 done, 1 a check failed, 2 usage, 69 something needed is unavailable, 78 the configuration is wrong.
    """


for command in (
    run, demo, watch, cameras, check_config, doctor, pause, resume, replay, bench, tune, power_mode, schema,
):  # fmt: skip
    cli.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what a user can cause is told in one line, never in a traceback."""
    if argv is None:
        _open_what_is_closed()
        hide_arguments()
    code = _run(argv)
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    return code


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError:  # nobody reads any more, or the disk is full: the interpreter would try again at exit, and fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(argv: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=list(argv) if argv is not None else None, prog_name="edge-fer", standalone_mode=False)
    except EdgeFerError as err:
        for line in hide_password(str(err)).splitlines():
            _tell(line)
        return err.exit_code
    except click.ClickException as err:
        if isinstance(err, _HELP):
            err.show()
        else:
            _tell(hide_password(_one_line(err)))
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click ends so for a reader who left, as in `edge-fer bench | head -1`
        return 0
    except OSError as err:
        if err.errno not in _DISK_IS_FULL:
            raise
        _tell(f"the output cannot be written ({err.strerror})")
        return UnavailableError.exit_code
    return code if isinstance(code, int) else 0  # of a command that ended with Exit; others return nothing


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody is left to be told; the exit code stays
        click.echo(f"edge-fer: {text}", err=True)


def _open_what_is_closed() -> None:
    """Where a standard file is closed (`>&-`), the next one that is opened would take its number, and be written to."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != fd:
                os.dup2(nowhere, fd)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r"))


def _one_line(err: click.ClickException) -> str:
    """What is wrong with the command line, and who knows what would be right."""
    told = " ".join(err.format_message().split())
    path = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else "edge-fer"
    return f"{told} ({path} --help)"
