"""What only the cloud has: its REST ingress."""
