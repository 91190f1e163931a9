"""Persons one by one: membership, exposure, near copies, and the question of a single one."""
