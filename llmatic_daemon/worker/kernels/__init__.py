"""Tries the kernels of a processor or a GPU: cells of a grid, guarded memory, a reference in float64."""
