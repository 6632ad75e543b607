"""Writes the generated pages of ``docs/`` from the declarations, and tells whether they are current."""
