"""Studies, which compare models over many trainings, simulate ad markets, and replay auctions on them under budgets."""
