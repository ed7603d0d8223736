"""Lifting: from untrusted source to a graph, inside the sandbox."""
