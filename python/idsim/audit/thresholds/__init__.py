"""Thresholds from comparisons of real people, and what is known of the error rates at them."""
