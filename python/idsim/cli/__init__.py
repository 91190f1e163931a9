"""The command line: one module per command, listed in :mod:`idsim.cli.main`."""
