"""One colour for each expression and each state of a camera, in every view in the terminal (names of rich)."""

from __future__ import annotations

from edge_fer.labels import UNCERTAIN

COLOURS = {
    "neutral": "white",
    "happiness": "green",
    "surprise": "yellow",
    "sadness": "blue",
    "anger": "red",
    "disgust": "magenta",
    "fear": "cyan",
    "contempt": "bright_magenta",
    UNCERTAIN: "bright_black",
}
STATE_COLOURS = {
    "online": "green",
    "connecting": "yellow",
    "stalled": "red",
    "frozen": "red",
    "dark": "yellow",
    "offline": "red",
    "disabled": "bright_black",
}
