"""What runs in the lab's pods: tiny servers, each started as ``python -m edgemesh.lab.apps.NAME``.

They stand for container images and know nothing of the lab but ``serving.READY_VARIABLE``.
"""
