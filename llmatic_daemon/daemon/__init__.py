"""What lives as long as the daemon process."""
