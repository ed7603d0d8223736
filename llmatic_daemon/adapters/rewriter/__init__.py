"""The rule-based writer: parses a network's syntax tree, edits it, repairs it and prints it."""
