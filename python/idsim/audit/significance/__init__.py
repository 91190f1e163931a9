"""Whether what a scan found is more than chance: tests, their corrections, several matchers, power."""
