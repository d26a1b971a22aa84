"""Search for better hyperparameters of a run (`mal-tf tune`)."""
