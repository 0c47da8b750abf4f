"""Istio's traffic objects (networking.istio.io)."""
