"""What waits for the broker: every event safe on disk, in order, until it is acknowledged."""
