"""A bundle becomes the release that runs, or nothing changes."""

from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from deploy.release import gate, preflight, units
from deploy.release.accounts import make_user
from deploy.release.archive import own_archive
from deploy.release.bundle import Bundle
from deploy.release.check import examine
from deploy.release.errors import ReleaseError
from deploy.release.facts import facts
from deploy.release.files import read_file, write_file
from deploy.release.gate import Limits
from deploy.release.layout import UNIT
from deploy.release.manifest import Manifest, parse_manifest
from deploy.release.prepare import prepare
from deploy.release.releases import names, prune, remove
from deploy.release.settings import Settings, changed, place_first, read_given
from deploy.release.state import linked_release, load_state
from deploy.release.switch import DONE, confirm, switch
from deploy.release.trust import Key, check_signature, read_keys, to_bytes
from deploy.release.work import Work


class Options(NamedTuple):
    """What `install` is asked for."""

    bundle: Path
    trust: Optional[Path] = None  # keys for a board that trusts none yet
    trust_more: bool = False  # have it trust them besides those that it trusts already
    config: Optional[Path] = None
    password: Optional[Path] = None
    keep: int = 3
    board_mismatch_ok: bool = False
    limits: Limits = Limits()


def install(work: Work, options: Options) -> int:
    """The exit code; ReleaseError where it is refused, and then the release before still runs."""
    if load_state(work.layout).pending is not None:
        confirm(work)
    config = read_given(options.config, "configuration") if options.config else None
    password = read_given(options.password, "password") if options.password else None
    with Bundle(options.bundle) as bundle:
        manifest, keys = _trusted(work, options, bundle)
        _check_board(work, options, manifest)
        if keys:
            write_file(work.layout.trusted_keys, to_bytes(keys))
            work.told.step("trust", f"{work.layout.trusted_keys}: {', '.join(map(str, keys))}")
        _install_agent(work)
        settings = changed(work, config, password)
        if not settings and _runs(work, manifest.release):
            work.told.step("done", f"{manifest.release} runs already: nothing to do")
            return DONE
        make_user(work)
        made = _unpack(work, bundle, manifest)
    return _activate(work, options, manifest.release, settings, made=made)


def _activate(work: Work, options: Options, name: str, settings: Settings, *, made: bool) -> int:
    try:
        template = work.layout.release(name) / "config" / "edge-fer.toml"
        settings = place_first(work, template, settings)
        config, called = settings.config, "the new configuration"
        if config is None:
            config, called = work.layout.config.read_bytes(), str(work.layout.config)
        examine(work, name, config, called)
    except (ReleaseError, OSError):
        if made:
            remove(work, name)
        raise
    work.checkpoint("examined")
    code = switch(work, name, settings, options.limits)
    if code == DONE:
        prune(work, options.keep)
    work.checkpoint("end")
    return code


def _trusted(work: Work, options: Options, bundle: Bundle) -> Tuple[Manifest, List[Key]]:
    """The manifest, and the keys that are to be trusted from now on where these change."""
    file = work.layout.trusted_keys
    given = read_keys(options.trust) if options.trust else []
    known = read_keys(file) if file.exists() else []
    if not known and not given:
        raise ReleaseError(
            f"this board trusts no key yet ({file} is missing): install with --trust FILE, the public key of whoever "
            "signs (an OpenSSH line, ssh-ed25519 AAAA...)"
        )
    added = [key for key in given if key.blob not in [other.blob for other in known]]
    trusted = known + added if options.trust_more or not known else known
    signer = check_signature(bundle.manifest, bundle.signature, trusted, file)
    manifest = parse_manifest(bundle.manifest)
    work.told.step("signature", f"{manifest.described}, signed by {signer}")
    return manifest, trusted if trusted != known else []


def _check_board(work: Work, options: Options, manifest: Manifest) -> None:
    """Everything that is wrong at once."""
    found = facts(work.layout, work.host)
    unpacked = manifest.release in names(work)
    wrong = preflight.not_root(found) + preflight.problems(
        found, manifest.fields, board_mismatch_ok=options.board_mismatch_ok, unpacked=unpacked
    )
    if wrong:
        raise ReleaseError("nothing was changed:\n" + "\n".join(f"- {line}" for line in wrong))
    work.told.step(
        "preflight", f"{found['board_name'] or found['machine']}, {found['os_name']}, glibc {found['glibc']}"
    )
    work.checkpoint("checked")


def _install_agent(work: Work) -> None:
    """This program stays on the board, for `confirm` at boot and for people."""
    archive = own_archive()
    if archive is None:
        return
    data = archive.read_bytes()
    if data != read_file(work.layout.agent):
        write_file(work.layout.agent, data, 0o755)
    work.checkpoint("agent")


def _runs(work: Work, name: str) -> bool:
    """Whether all is as an installation of this release would leave it."""
    layout = work.layout
    if not (name == linked_release(layout) == load_state(layout).current):
        return False
    enabled = work.systemd.show(UNIT, ["UnitFileState"]).get("UnitFileState")
    return gate.look_once(work).active == "active" and enabled == "enabled" and units.in_place(work, name)


def _unpack(work: Work, bundle: Bundle, manifest: Manifest) -> bool:
    """Whether the release was made; one that may run, or be needed to go back, is left as it is."""
    name, state = manifest.release, load_state(work.layout)
    if name in names(work) and name in (linked_release(work.layout), state.current, state.previous):
        work.told.step("unpack", f"{name} is on this board already")
        return False
    prepare(work, bundle, manifest)
    return True
