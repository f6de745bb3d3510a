"""The way to the broker, and back: only here is an MQTT client imported."""
