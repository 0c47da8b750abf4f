"""The configuration of EdgeMesh's agent, for tests of what becomes of it."""

from __future__ import annotations

# Every key that EdgeMesh v1.17 reads, mostly with its default.
COMPLETE = """
apiVersion: agent.edgemesh.config.kubeedge.io/v1alpha1
kind: EdgeMeshAgent
kubeAPIConfig:
  master: ""
  kubeConfig: ""
  contentType: application/json
  qps: 100
  burst: 200
  mode: EdgeMode
  deleteKubeConfig: false
  metaServer:
    server: https://127.0.0.1:10550
    security:
      requireAuthorization: true
      insecureSkipTLSVerify: false
      tlsCaFile: /etc/edgemesh/metaserver/rootCA.crt
      tlsCertFile: /etc/edgemesh/metaserver/server.crt
      tlsPrivateKeyFile: /etc/edgemesh/metaserver/server.key
commonConfig:
  bridgeDeviceName: edgemesh0
  bridgeDeviceIP: 169.254.96.16
  pprofConfig: {enableProfiling: false, profilingAddress: 127.0.0.1, profilingPort: 10266}
modules:
  edgeDNS:
    enable: true
    kubeAPIConfig: {qps: 100}
    listenInterface: edgemesh0
    listenPort: 5353
    cacheDNS: {enable: true, autoDetect: false, upstreamServers: [10.96.0.10], cacheTTL: 60}
  edgeProxy:
    enable: true
    listenInterface: edgemesh0
    socks5Proxy: {enable: false, listenPort: 10800, nodeName: a, namespace: kubeedge}
    loadBalancer:
      caller: ProxyCaller
      nodeName: a
      consistentHash: {partitionCount: 100, replicationFactor: 10, load: 1.25}
    serviceFilterMode: FilterIfLabelExists
  edgeTunnel:
    enable: true
    mode: ServerAndClient
    nodeName: a
    listenPort: 20007
    transport: tcp
    rendezvous: EDGEMESH_PLAYGOUND
    relayNodes: [{nodeName: master, advertiseAddress: [192.0.2.1]}]
    enableIpfsLog: false
    maxCandidates: 5
    heartbeatPeriod: 120
    finderPeriod: 60
    psk: {enable: true, path: /etc/edgemesh/psk}
    configPath: /etc/edgemesh/config/edgemesh-agent.yaml
    listenInterfaces: "*"
    extraFilteredInterfaces: ""
    metricConfig: {enable: true, port: 9999}
    tunnelLimitConfig:
      enable: true
      tunnelBaseStreamIn: 10240
      tunnelBaseStreamOut: 10240
      tunnelPeerBaseStreamIn: 2048
      tunnelPeerBaseStreamOut: 1024
"""
