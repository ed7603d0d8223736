"""Training: data, recipes, and the loop that makes a score."""
