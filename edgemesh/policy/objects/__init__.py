"""From the objects that speak about policies and routes to the values that the mesh goes by."""
