{{- define "edgemesh.labels" -}}
app.kubernetes.io/name: edgemesh
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "edgemesh.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "edgemesh.pullSecrets" -}}
{{- range $name := .Values.image.pullSecrets }}
- name: {{ $name | quote }}
{{- end }}
{{- end }}

{{- /* What nodes call the cloud by, for its certificate. */}}
{{- define "edgemesh.cloudNames" -}}
edgemesh-cloud.{{ .Release.Namespace }}.svc
{{- with .Values.cloud.address }},{{ . }}{{ end }}
{{- range $name := .Values.cloud.names }},{{ $name }}{{ end }}
{{- end }}

{{- /* A section of values as edgemesh.toml. JSON's strings, numbers and arrays are TOML's, too. */}}
{{- define "edgemesh.toml" -}}
{{- range $section, $keys := . }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What is followed: where objects come from that edgemesh acts by. */}}
{{- define "edgemesh.followed" -}}
- apiGroups: [""]
  resources: [services, endpoints, pods, nodes, namespaces]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [networking.istio.io]
  resources: [destinationrules, virtualservices, gateways]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes, tlsroutes, tcproutes, referencegrants]
  verbs: [get, list, watch]
- apiGroups: [policy.edgemesh.io]
  resources: [trafficpolicies]
  verbs: [get, list, watch]
- apiGroups: [rules.kubeedge.io]
  resources: [rules, ruleendpoints]
  verbs: [get, list, watch]
{{- end }}
