"""The state folder: the SQLite store, content-addressed files, notes."""
