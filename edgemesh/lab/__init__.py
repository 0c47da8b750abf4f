"""Network namespaces that stand for nodes and pods."""
