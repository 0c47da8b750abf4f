"""What is balanced when a socket connects: which Service ports, and what the kernel is told."""
