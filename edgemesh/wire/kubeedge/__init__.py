"""What KubeEdge's CloudCore and EdgeCore say to each other, for both ends (v1.23, recorded)."""
