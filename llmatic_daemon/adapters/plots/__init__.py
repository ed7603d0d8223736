"""Pictures of searches and experiments."""
