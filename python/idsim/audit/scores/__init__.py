"""Scores of matchers that give no embeddings."""
