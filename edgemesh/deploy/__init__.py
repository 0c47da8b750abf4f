"""What installs edgemesh on a cluster or a host, and the ways to render it."""
