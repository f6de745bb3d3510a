"""The commands of `python -m converter`, one module each; TensorFlow is imported only by those that need it."""
