"""Reading the labelled clicks that the label job wrote, and scoring clicks with exported models."""
