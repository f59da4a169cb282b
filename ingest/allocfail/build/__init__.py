"""Writes and checks the generated files: ``python -m allocfail.build``."""
