"""Prometheus metrics: the catalog, and the observer that counts."""
