"""The command line: its commands, and what becomes of their errors."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

import click

from edge_fer import __version__
from edge_fer.commands.bench import bench
from edge_fer.commands.cameras import cameras
from edge_fer.commands.check_config import check_config
from edge_fer.commands.demo import demo
from edge_fer.commands.pause import pause, resume
from edge_fer.commands.replay import replay
from edge_fer.commands.run import run
from edge_fer.commands.schema import schema
from edge_fer.commands.watch import watch
from edge_fer.errors import EdgeFerError, UnavailableError, UsageError
from edge_fer.privacy import hide_arguments, hide_password

INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what was ended before its work was done, as shells have it; `run` and `demo` end with 0."""

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edge-fer")
def cli() -> None:
    """Facial expressions from camera streams to MQTT events.

    Exit codes: 0 done, 1 a check failed, 2 usage, 69 something needed is unavailable, 78 the configuration is wrong.
    """


for command in (run, demo, watch, cameras, check_config, pause, resume, replay, bench, schema):
    cli.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; what a user can cause is told in one line, never in a traceback."""
    if argv is None:
        hide_arguments()
    code = _run(argv)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads any more, or the disk is full: the interpreter would try again at exit, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=list(argv) if argv is not None else None, prog_name="edge-fer", standalone_mode=False)
    except EdgeFerError as err:
        for line in hide_password(str(err)).splitlines():
            click.echo(f"edge-fer: {line}", err=True)
        return err.exit_code
    except click.ClickException as err:
        err.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click ends so for a reader who left, as in `edge-fer bench | head -1`
        return 0
    except OSError as err:
        if err.errno not in _DISK_IS_FULL:
            raise
        click.echo(f"edge-fer: the output cannot be written ({err.strerror})", err=True)
        return UnavailableError.exit_code
    return code if isinstance(code, int) else 0  # of a command that ended with Exit; others return nothing
