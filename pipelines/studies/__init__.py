"""Studies: models compared on many trainings, simulated ad markets, and budgets spent on them."""
