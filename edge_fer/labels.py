"""The expressions that edge-fer reads, in the order of every model's output (FER+ order)."""

from __future__ import annotations

EXPRESSIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")

UNCERTAIN = "uncertain"
"""What a face reads when no expression is probable enough; never a class of a model."""
