"""Composition. The only room that starts long-lived tasks."""
