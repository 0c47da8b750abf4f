"""edgecontroller: follows Kubernetes, or KubeEdge's MetaServer, and tells it how objects stand."""
