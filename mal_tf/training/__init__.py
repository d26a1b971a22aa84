"""Training: input, losses, optimisers, the training loop."""
