"""Frozen values and Protocols that every other room speaks. No I/O, no clock."""
