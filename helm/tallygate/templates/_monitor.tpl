{{- /*
The two endpoints of a ServiceMonitor or PodMonitor: what was pushed, whose labels win over those of the target, and
our own metrics, whose labels do not. Pass a dict with root and monitor.
*/ -}}
{{- define "tallygate.endpoints" -}}
- port: http
  path: {{ include "tallygate.prefix" .root }}/metrics
  honorLabels: {{ .monitor.honorLabels }}
  honorTimestamps: {{ .monitor.honorTimestamps }}
  {{- include "tallygate.endpointCommon" . | nindent 2 }}
  {{- with default (.root.Values.tls.enabled | ternary "https" "") .monitor.scheme }}
  scheme: {{ . }}
  {{- end }}
  {{- if and .root.Values.tls.certManager.enabled (not .monitor.tlsConfig) }}
  # cert-manager puts the authority next to the certificate.
  tlsConfig:
    serverName: {{ include "tallygate.fullname" .root }}.{{ include "tallygate.namespace" .root }}.svc
    ca:
      secret:
        name: {{ include "tallygate.tlsSecret" .root }}
        key: ca.crt
  {{- end }}
  {{- range $key := list "tlsConfig" "basicAuth" "authorization" }}
  {{- with get $.monitor $key }}
  {{ $key }}:
    {{- include "tallygate.tpl" (dict "root" $.root "value" .) | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
- port: telemetry
  path: /metrics
  honorLabels: false
  {{- include "tallygate.endpointCommon" . | nindent 2 }}
{{- end -}}

{{- define "tallygate.endpointCommon" -}}
{{- with .monitor.interval -}}
interval: {{ . }}
{{ end -}}
{{- with .monitor.scrapeTimeout -}}
scrapeTimeout: {{ . }}
{{ end -}}
relabelings:
  {{- if not .monitor.jobLabel }}
  # Both endpoints are one job, and rules and dashboard know its name.
  - targetLabel: job
    replacement: {{ include "tallygate.fullname" .root }}
  {{- end }}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if and .monitor.jobLabel (not .monitor.relabelings) }} []{{ end -}}
{{- end -}}

{{- define "tallygate.monitorSpec" -}}
{{- with .monitor.jobLabel }}
jobLabel: {{ . }}
{{- end }}
{{- with .monitor.sampleLimit }}
sampleLimit: {{ . }}
{{- end }}
namespaceSelector:
  matchNames:
    - {{ include "tallygate.namespace" .root }}
{{- end -}}
