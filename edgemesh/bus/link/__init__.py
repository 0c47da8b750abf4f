"""Links: connections that carry streams to other ends of the mesh."""
