"""From one release to another, and back: a journal in state.json has each step finished or undone after a kill."""

from deploy.release import gate
from deploy.release.errors import ReleaseError
from deploy.release.files import remove_file
from deploy.release.gate import Limits, Verdict
from deploy.release.layout import UNIT
from deploy.release.releases import link_commands, make_current, names, remove, unlink_commands
from deploy.release.settings import Settings, keep, place, put_back
from deploy.release.state import Pending, State, linked_release, load_state, save_state
from deploy.release.units import enable_units, install_units, remove_units
from deploy.release.work import Work

JOURNAL_LINES = 30
BACK_S = 60.0
"""How long the release before may take until it runs again; then it is told, and left to systemd."""

FAILED, DONE = 1, 0


def switch(work: Work, to: str, settings: Settings, limits: Limits) -> int:
    """Run another release, or the same with other settings; where it does not pass the gate, go back. The exit code."""
    layout = work.layout
    confirmed = load_state(layout).current
    origin = linked_release(layout) or (confirmed if confirmed in names(work) else "")
    if settings.config is not None:
        keep(work, layout.config, layout.config_before)
    if settings.password is not None:
        keep(work, layout.password, layout.password_before)
    if origin:
        keep(work, layout.config, layout.config_last(origin))
    work.checkpoint("kept")
    pending = Pending(
        to,
        origin,
        int(work.host.unix_s()),
        gate_s=limits.gate_s,
        hold_s=limits.hold_s,
        config=settings.config is not None,
        password=settings.password is not None,
    )
    _remember(work, pending)
    work.checkpoint("pending")
    try:
        restarts = _apply(work, pending, settings)
        verdict = _watched(work, limits, restarts)
    except (ReleaseError, OSError) as err:
        verdict = gate.refused(str(err))
    return _end(work, verdict)


def confirm(work: Work) -> int:
    """Finish a switch that a kill or a power cut has interrupted, or undo it. The exit code: 0 where it runs."""
    pending = load_state(work.layout).pending
    if pending is None:
        remove_file(work.layout.pending_flag)
        work.told.step("confirm", "no switch is pending")
        return DONE
    work.told.step("confirm", f"the switch to {pending.to} was interrupted")
    if pending.undoing:
        return _undo(work, "it was given up before the interruption")
    if linked_release(work.layout) != pending.to:
        return _undo(work, "it was interrupted before the switch")
    try:
        restarts = 0
        if not pending.started:
            install_units(work, pending.to)
            restarts = _start(work, pending)
        elif gate.look_once(work).active == "inactive":
            work.systemd.start(UNIT)
        verdict = _watched(work, Limits(pending.gate_s, pending.hold_s), restarts)
    except (ReleaseError, OSError) as err:
        verdict = gate.refused(str(err))
    return _end(work, verdict)


def _apply(work: Work, pending: Pending, settings: Settings) -> int:
    layout = work.layout
    if settings.config is not None:
        place(work, layout.config, settings.config)
        work.told.step("config", f"{layout.config} is replaced; the one before is {layout.config_before}")
    if settings.password is not None:
        place(work, layout.password, settings.password)
        work.told.step("config", f"{layout.password} is replaced")
    work.checkpoint("settings-changed")
    install_units(work, pending.to)
    work.told.step("units", f"installed in {layout.units}")
    make_current(work, pending.to)
    work.checkpoint("switched")
    work.told.step("switch", f"{pending.origin or 'nothing'} -> {pending.to}")
    return _start(work, pending)


def _start(work: Work, pending: Pending) -> int:
    """Restart the service; the restarts that systemd has counted until now."""
    link_commands(work)
    enable_units(work, pending.to)
    work.systemd.stop(UNIT)
    work.checkpoint("stopped")
    restarts = gate.look_once(work).restarts
    work.systemd.start(UNIT)
    _remember(work, pending._replace(started=True))
    work.checkpoint("started")
    return restarts


def _watched(work: Work, limits: Limits, restarts: int) -> Verdict:
    work.told.step("gate", f"{UNIT} is watched for up to {limits.gate_s:g} s ...")
    return gate.watch(work, limits, restarts)


def _end(work: Work, verdict: Verdict) -> int:
    if not verdict.passed:
        return _undo(work, verdict.why)
    state = load_state(work.layout)
    name = _pending(state).to
    save_state(work.layout, state.confirmed(name))
    work.checkpoint("confirmed")
    remove_file(work.layout.password_before)
    if verdict.warning:
        work.told.warning(verdict.warning)
    work.told.step("done", f"{name} runs: {verdict.why}")
    return DONE


def _undo(work: Work, why: str) -> int:
    """Back to how it was before; can be interrupted and repeated. Always FAILED."""
    state = load_state(work.layout)
    pending = _pending(state)
    work.told.problem(f"{pending.to} does not run here: {why}")
    if pending.started and not pending.undoing:
        work.told.step("journal", f"the last {JOURNAL_LINES} lines of {UNIT}:")
        work.told.more(work.systemd.journal(UNIT, JOURNAL_LINES))
    _remember(work, pending._replace(undoing=True))
    work.checkpoint("undo-begun")
    _restore(work, pending)
    save_state(work.layout, load_state(work.layout).undone(pending.to, why))
    work.checkpoint("undone")
    remove_file(work.layout.password_before)
    state = load_state(work.layout)
    if pending.to not in (pending.origin, state.current, state.previous):
        remove(work, pending.to)
    work.checkpoint("undo-tidied")
    return FAILED


def _restore(work: Work, pending: Pending) -> None:
    layout = work.layout
    if pending.config:
        put_back(work, layout.config, layout.config_before)
        work.told.step("undo", f"{layout.config} is again what it was")
    if pending.password:
        put_back(work, layout.password, layout.password_before)
    work.checkpoint("undo-settings")
    origin = pending.origin if pending.origin in names(work) else ""
    if not origin:
        remove_units(work)
        unlink_commands(work, agent=False)
        remove_file(layout.current)
        work.told.step("undo", "nothing ran here before: the service is stopped and removed; settings and keys stay")
        return
    make_current(work, origin)
    work.checkpoint("undo-switched")
    try:
        install_units(work, origin)
        enable_units(work, origin)
        work.systemd.stop(UNIT)
        work.checkpoint("undo-stopped")
        began_s = work.host.monotonic_s()
        work.systemd.start(UNIT)
        _tell_whether_back(work, origin, began_s)
    except ReleaseError as err:
        work.told.problem(f"{origin} could not be started again: {err}")


def _tell_whether_back(work: Work, origin: str, began_s: float) -> None:
    while work.host.monotonic_s() - began_s < BACK_S:
        sample = gate.look_once(work)
        if sample.active == "active":
            took_s = work.host.monotonic_s() - began_s
            work.told.step("undo", f"{origin} runs again, after {took_s:.0f} s")
            return
        if sample.active == "failed":
            break
        work.host.sleep(gate.LOOK_S)
    work.told.problem(f"{origin} does not run either: edge-fer-release status, journalctl -u {UNIT}")


def _remember(work: Work, pending: Pending) -> None:
    save_state(work.layout, load_state(work.layout)._replace(pending=pending))


def _pending(state: State) -> Pending:
    assert state.pending is not None  # noqa: S101 - only asked for while one is
    return state.pending
