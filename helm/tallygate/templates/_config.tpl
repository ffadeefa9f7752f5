{{- /*
The server's own configuration file: what the chart has to know (ports, paths, the store), and `config` as it is.
A key that belongs to the chart must not stand in `config` as well; _guards.tpl refuses that.
*/ -}}

{{- /* The keys that the chart sets, and the value each comes from. */ -}}
{{- define "tallygate.ownedKeys" -}}
mode: mode
web.listen_address: ports.http
web.management_address: ports.telemetry
web.route_prefix: webPrefix
web.external_url: externalURL
store.path: store.type
store.ack: store.ack
log.level: logLevel
log.format: logFormat
{{- end -}}

{{- define "tallygate.config" -}}
{{- $web := dict
  "listen_address" (list (printf ":%d" (int .Values.ports.http)))
  "management_address" (printf ":%d" (int .Values.ports.telemetry))
-}}
{{- with .Values.webPrefix }}{{ $_ := set $web "route_prefix" . }}{{ end -}}
{{- with .Values.externalURL }}{{ $_ := set $web "external_url" . }}{{ end -}}
{{- $store := dict "path" "" -}}
{{- if eq .Values.store.type "disk" -}}
{{- $store = dict "path" "/data/store" "ack" .Values.store.ack -}}
{{- end -}}
{{- $own := dict
  "mode" .Values.mode
  "web" $web
  "store" $store
  "log" (dict "level" .Values.logLevel "format" .Values.logFormat)
-}}
{{- mergeOverwrite $own (deepCopy .Values.config) | toYaml -}}
{{- end -}}
