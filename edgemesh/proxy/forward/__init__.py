"""How bytes get to the endpoint: one file a path."""
