"""Active health checks: asking endpoints how they are, without waiting for calls that fail."""
