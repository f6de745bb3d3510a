"""The command line."""

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Callable, List, Optional

from deploy.release.accounts import is_root
from deploy.release.detach import detached
from deploy.release.errors import ReleaseError, UnavailableError
from deploy.release.facts import facts
from deploy.release.gate import Limits
from deploy.release.host import Host
from deploy.release.install import Options, install
from deploy.release.layout import Layout
from deploy.release.lock import Lock
from deploy.release.releases import tidy
from deploy.release.rollback import rollback
from deploy.release.status import healthy, status, tell
from deploy.release.switch import confirm
from deploy.release.told import Told
from deploy.release.undeploy import undeploy
from deploy.release.work import Work

NOT_DEPLOYED = os.EX_UNAVAILABLE
USAGE = 2


def main(argv: Optional[List[str]] = None) -> int:
    """The exit code: 0 done, 1 a check failed, 2 usage, 69 something is unavailable, 78 the configuration is wrong."""
    try:
        given = _parser().parse_args(argv)
    except SystemExit as end:  # after its message, or that of --help
        return int(end.code or 0)
    os.umask(0o022)
    layout, host = Layout(given.root), Host()
    if given.command in ("facts", "status"):
        return _ask(given, Work(layout, host, Told()))
    work = Work(layout, host, Told())
    if not is_root(work):
        work.told.problem(f"{given.command} changes the system: only root can do that; use sudo")
        return UnavailableError.exit_code
    try:
        with Lock(work, given.command):
            return detached(lambda: _change(given, Work(layout, host, Told(layout.log_file))))
    except KeyboardInterrupt:  # while it waited
        return 128 + signal.SIGINT
    except ReleaseError as err:
        work.told.problem(str(err))
        return err.exit_code


def _change(given: argparse.Namespace, work: Work) -> int:
    """Carry out a command that changes the board; all that can go wrong is told, and becomes an exit code."""
    limits = _limits(given)
    commands = {
        "install": lambda: install(work, _options(given, limits)),
        "rollback": lambda: rollback(work, given.to, limits, its_config=given.its_config),
        "confirm": lambda: confirm(work),
        "undeploy": lambda: undeploy(work, purge=given.purge),
    }
    command: Callable[[], int] = commands[given.command]
    try:
        tidy(work)
        return command()
    except ReleaseError as err:
        work.told.problem(str(err))
        return err.exit_code
    except OSError as err:
        work.told.problem(f"{err.filename or 'the board'}: {err.strerror or err}")
        return UnavailableError.exit_code
    except Exception:  # noqa: BLE001 - a mistake of ours: nobody may be at the terminal any more, so it goes to the log
        work.told.problem("edge-fer-release itself failed; please report this:")
        work.told.more(traceback.format_exc())
        return 1


def _limits(given: argparse.Namespace) -> Limits:
    return Limits(given.gate_s, given.hold_s) if "gate_s" in given else Limits()


def _options(given: argparse.Namespace, limits: Limits) -> Options:
    return Options(
        bundle=given.bundle,
        trust=given.trust,
        trust_more=given.trust_more,
        config=given.config,
        password=given.mqtt_password,
        keep=given.keep,
        board_mismatch_ok=given.board_mismatch_ok,
        limits=limits,
    )


def _ask(given: argparse.Namespace, work: Work) -> int:
    if given.command == "facts":
        _print(json.dumps(facts(work.layout, work.host), indent=1, sort_keys=True))
        return 0
    found = status(work)
    if given.json:
        _print(json.dumps(found, indent=1, sort_keys=True))
    else:
        tell(work.told, found)
    if not found["current"]:
        return NOT_DEPLOYED
    return 0 if healthy(found) else 1


def _print(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:  # nobody reads any more; the interpreter would try again at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-fer-release",
        description="Installs releases of edge-fer on this board, watches over them, and goes back.",
        epilog="Exit codes: 0 done, 1 a check failed, 2 usage, 69 something is unavailable, 78 configuration wrong.",
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), metavar="DIR", help="work below this folder instead of /"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    _add_install(commands.add_parser("install", help="install a bundle, and run it"))
    back = commands.add_parser("rollback", help="go back to a release that ran before")
    back.add_argument("--to", metavar="RELEASE", help="another one than the previous")
    back.add_argument("--its-config", action="store_true", help="with the configuration with which it ran last")
    _add_limits(back)
    commands.add_parser("confirm", help="finish what was interrupted, within its own limits; done at boot, too")
    shown = commands.add_parser(
        "status", help="what runs here; 1 where it is not healthy, 69 where nothing is deployed"
    )
    asked = commands.add_parser("facts", help="what kind of board this is, as JSON")
    for each in (shown, asked):
        each.add_argument("--json", action="store_true", help="for programs")
    gone = commands.add_parser("undeploy", help="remove it; configuration, keys and state stay")
    gone.add_argument("--purge", action="store_true", help="remove these and the user, too")
    return parser


def _add_install(install_: argparse.ArgumentParser) -> None:
    install_.add_argument("bundle", type=Path, metavar="BUNDLE")
    install_.add_argument("--trust", type=Path, metavar="FILE", help="public keys for a board that trusts none yet")
    install_.add_argument("--trust-more", action="store_true", help="trust these besides those that are trusted")
    install_.add_argument("--config", type=Path, metavar="FILE", help="replace the configuration")
    install_.add_argument("--mqtt-password", type=Path, metavar="FILE", help="file with the password for the broker")
    install_.add_argument("--keep", type=_count, default=3, metavar="N", help="releases that stay on the board (3)")
    install_.add_argument("--board-mismatch-ok", action="store_true", help="whatever the device tree says")
    _add_limits(install_)


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gate-s", type=_seconds, default=60.0, metavar="S", help="time to become healthy (60)")
    command.add_argument("--hold-s", type=_seconds, default=10.0, metavar="S", help="and to stay so, online (10)")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:  # noqa: PLR2004 - an hour
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600 s")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 100")
    return value
