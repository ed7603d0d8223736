"""Settings become objects: the composition root."""
