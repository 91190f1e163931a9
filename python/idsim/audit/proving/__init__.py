"""The audit held against made-up worlds with known truth."""
