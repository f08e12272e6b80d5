"""Grids, distance fields, sampling and segments: numbers only, no anatomy and no files."""
