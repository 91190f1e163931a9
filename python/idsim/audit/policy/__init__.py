"""Policies: whether a finished run fulfils what was agreed on."""
