"""From votes on faces to the int8 and float TFLite models that edge-fer runs; never imported on a board."""
