"""CVT-MAP-Elites archives: cells, measures, and who holds a cell."""
