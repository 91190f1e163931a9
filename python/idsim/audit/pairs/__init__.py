"""Comparisons of whole sets: made in shards, kept, and asked."""
