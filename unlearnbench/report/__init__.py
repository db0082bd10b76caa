"""Leaderboards, galleries, curves and paper tables, as text and as files."""
