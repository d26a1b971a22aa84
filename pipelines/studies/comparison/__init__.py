"""`mal-tf benchmark`: models, primary targets, auxiliary sets and seeds, trained on the same labels and compared."""
