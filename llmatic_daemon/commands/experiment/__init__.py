"""Experiments: many searches in memory (variants x data sets x seeds), their tables and figures."""
