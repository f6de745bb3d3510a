"""Orders from outside while the daemon runs: commands over MQTT, and reading the configuration again."""
