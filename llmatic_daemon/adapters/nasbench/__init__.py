"""NAS-Bench-201: a writer of cells, and a lifter and trainer that read results from the benchmark's table."""
