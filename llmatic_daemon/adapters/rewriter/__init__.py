"""What the offline rewriter does to a network's syntax tree: read it, edit it, fit it, print it."""
