"""Adapters: one outside thing each, behind a port."""
