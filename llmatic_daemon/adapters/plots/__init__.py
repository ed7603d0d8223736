"""Plots of searches and experiments."""
