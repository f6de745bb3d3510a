"""`baseline`."""

from __future__ import annotations

import json

import click

from converter.commands.common import NETWORK, need_tensorflow


@click.command()
@click.option("--network", type=NETWORK, default="nano_b", show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def baseline(network: str, seconds: float, threads: int, *, as_json: bool) -> None:
    """Time the same network in TensorFlow's graph mode and in Keras `predict`, for comparison with TFLite."""
    need_tensorflow()
    from converter.baseline import measure_baseline

    result = measure_baseline(network, seconds, threads)
    click.echo(json.dumps(result) if as_json else "\n".join(f"{key:18} {value}" for key, value in result.items()))
