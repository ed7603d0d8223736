"""The hands: one outside thing each, behind a port."""
