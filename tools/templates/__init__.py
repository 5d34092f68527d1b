"""The shipped workflows as Python: `python -m tools.templates` writes their files."""
