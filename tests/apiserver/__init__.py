"""A Kubernetes API server, and KubeEdge's MetaServer, that behave as the recorded ones.

Start it with ``apiserver.server.run_apiserver``, or as a process with ``apiserver/serve.py``.
"""
