"""What a Kubernetes API server, or KubeEdge's MetaServer, answers: lists, watches, failures."""
