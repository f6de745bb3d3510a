"""Trained weights of any common format -> a Keras model that gives logits: start at `files.read_weights`."""
