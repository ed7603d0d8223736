"""HTTP: metrics, health and the read-only API on loopback, and the control socket."""
