"""Multi-task CVR models: Keras functional networks with a named output of logits per target."""
