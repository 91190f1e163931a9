"""Leak rates, their excess, and the resampling behind intervals and p-values."""
