"""The Raspberry Pi 5's power circuit: current and voltage of most rails, of which the total is estimated."""

from __future__ import annotations

import re

from edge_fer.errors import SensorError
from edge_fer.sensors.readings import PowerReading, Rail
from edge_fer.sensors.vcgencmd import Vcgencmd

SLOPE, OFFSET_W = 1.1451, 0.5879
"""W = 1.1451 * sum + 0.5879: a fit of the community against a meter at the plug; 5 V loads pass the circuit by."""

REASON = f"estimated: {SLOPE} x the sum of the PMIC's rails + {OFFSET_W} W; what hangs on 5 V (USB, fan) is not seen"

_LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)


class PmicMeter:
    """Asks `vcgencmd pmic_read_adc`."""

    def __init__(self, vcgencmd: Vcgencmd) -> None:
        self._vcgencmd = vcgencmd
        self.problems: tuple[str, ...] = ()

    def read(self, time_ns: int) -> PowerReading:  # noqa: ARG002 - it tells watts, not energy
        """All rails that have both a current and a voltage, and the estimate of the whole."""
        try:
            rails = parse_rails(self._vcgencmd.ask("pmic_read_adc"))
        except SensorError as err:
            self.problems = (str(err),)
            return PowerReading("unavailable", reason=str(err))
        self.problems = ()
        total_w = SLOPE * sum(rail.power_w for rail in rails) + OFFSET_W
        return PowerReading("estimated", total_w, rails, reason=REASON)


def parse_rails(text: str) -> tuple[Rail, ...]:
    """Pairs `NAME_A current(n)=..A` with `NAME_V volt(m)=..V` by NAME: n and m differ.

    SensorError without a pair, and for a current without its voltage: the program cuts its answer at 1024 characters.
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, unit, number in _LINE.findall(text):
        (amperes if unit == "A" else volts)[name] = float(number)
    rails = tuple(
        Rail(name, current * volts[name], in_total=True) for name, current in amperes.items() if name in volts
    )
    if not any(rail.power_w for rail in rails):
        raise SensorError(f"vcgencmd pmic_read_adc: no rail with current and voltage in {text[:60]!r}")
    if alone := sorted(amperes.keys() - volts.keys()):
        raise SensorError(f"vcgencmd pmic_read_adc: no voltage of the rail {alone[0]}, so the sum would be too low")
    return rails
