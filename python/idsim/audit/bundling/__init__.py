"""Runs packed so that others can replicate them, and replicated from such a bundle."""
