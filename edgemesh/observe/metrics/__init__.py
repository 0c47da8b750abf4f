"""What is counted, and how Prometheus gets to know it."""
