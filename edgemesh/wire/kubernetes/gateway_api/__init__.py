"""Objects of the Kubernetes Gateway API (gateway.networking.k8s.io)."""
