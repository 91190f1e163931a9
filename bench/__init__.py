"""Benchmarks of the repository: the whole table, its Markdown form, and the comparison of two commits."""
