"""The HTML page about a model file: start at `write.write_report`."""
