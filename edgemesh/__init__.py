"""edgemesh: a transparent service mesh for edge nodes, on trio."""

__version__ = "0.1.0"
