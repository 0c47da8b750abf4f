"""Ways to install edgemesh on Kubernetes, for tests of what is rendered."""

from __future__ import annotations

from typing import Any

ADDRESS = {"cloud": {"address": "mesh.example.org"}}

# By name, what is said besides the defaults.
VALUE_SETS: dict[str, dict[str, Any]] = {
    "defaults": ADDRESS,
    "everything": {
        "namespace": {"create": True},
        "image": {"repository": "registry.example.org/edgemesh", "pullSecrets": ["registry"]},
        "crds": {"kubeedgeRules": True},
        "agent": {
            "config": {
                "netfilter": {"install": "needed", "service_cidrs": ["10.0.0.0/16"]},
                "log": {"access_rate": 0.25, "flows": False, "buffer_bytes": 2097152},
                "dns": {"domain": 'a "quoted" <domain> & more'},
            },
            "hostPID": True,
            "maxUnavailable": "10%",
            "affinity": {"nodeAffinity": {}},
        },
        "cloud": {
            "address": "2001:db8::1",
            "names": ["192.0.2.1", "mesh.internal"],
            "config": {"cloud": {"token_seconds": 60.5}},
            "service": {
                "type": "NodePort",
                "annotations": {"example.org/pool": "edge"},
                "nodePorts": {"hub": 30000, "enrolment": 30002},
            },
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "persistence": {"storageClassName": "fast", "size": "5Gi"},
        },
        "networkPolicy": {
            "enabled": True,
            "monitoringNamespace": {"kubernetes.io/metadata.name": "monitoring"},
        },
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    },
    "replicas": {
        "agent": {"tokenSecret": "edgemesh-token"},
        "cloud": {
            "address": "mesh.example.org",
            "replicas": 3,
            "postgresql": {"secretName": "edgemesh-database"},
        },
        "networkPolicy": {"enabled": True},
    },
    "api-server": {"agent": {"follow": "kubernetes"}, "cloud": {"enabled": False}},
    "metaserver": {
        "agent": {"follow": "kubernetes", "server": "http://127.0.0.1:10550", "privileged": False},
        "crds": {"trafficPolicy": False},
        "cloud": {"server": "", "persistence": {"existingClaim": "kept"}},
        "podMonitor": {"enabled": True},
    },
}
