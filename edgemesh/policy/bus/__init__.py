"""Decisions about what goes between ends of the mesh."""
