"""Metrics for Prometheus: what the daemon publishes, over HTTP. Off by default, and only then imported."""
