"""Links: many streams on one connection between two ends of the mesh."""
