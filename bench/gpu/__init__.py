"""A machine with a GPU: build, test, measure. See ``python -m bench.gpu --help``."""
