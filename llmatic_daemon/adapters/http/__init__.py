"""The listener on loopback: metrics, health, and a read-only API for people and programs that watch."""
