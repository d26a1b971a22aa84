"""Models: Keras functional networks with one named output of logits per target."""
