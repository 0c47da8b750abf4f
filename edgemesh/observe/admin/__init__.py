"""The admin server: what an agent tells over HTTP about itself."""
