"""Experiments: many searches in memory, variants by data sets by seeds, and what comes of them."""
