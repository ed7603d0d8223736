"""The operating system's services: systemd, the journal, logs."""
