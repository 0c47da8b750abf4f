"""Logs and what an operator sees."""
