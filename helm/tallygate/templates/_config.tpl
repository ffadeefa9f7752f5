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
web.config_file: webConfig
auth.file: auth
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
{{- if include "tallygate.webConfig" . }}{{ $_ := set $web "config_file" "/etc/tallygate/web.yaml" }}{{ end -}}
{{- $own := dict
  "mode" .Values.mode
  "web" $web
  "store" (dict "ack" .Values.store.ack)
  "log" (dict "level" .Values.logLevel "format" .Values.logFormat)
-}}
{{- if .Values.auth.enabled -}}
{{- $_ := set $own "auth" (dict "file" (printf "/etc/tallygate-auth/%s" (include "tallygate.authKey" .))) -}}
{{- end -}}
{{- mergeOverwrite $own (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{- /* The web configuration file; empty if there is nothing to say in it. It names secrets, and holds none. */ -}}
{{- define "tallygate.webConfig" -}}
{{- $file := dict -}}
{{- if .Values.tls.enabled -}}
{{- $tls := dict
  "cert_file" "/etc/tallygate-tls/tls.crt"
  "key_file" "/etc/tallygate-tls/tls.key"
  "min_version" .Values.tls.minVersion
-}}
{{- if .Values.tls.clientCA.existingSecret -}}
{{- $_ := set $tls "client_ca_file" (printf "/etc/tallygate-client-ca/%s" .Values.tls.clientCA.key) -}}
{{- $_ := set $tls "client_auth_type" .Values.tls.clientCA.authType -}}
{{- end -}}
{{- $_ := set $file "tls_server_config" $tls -}}
{{- end -}}
{{- with mergeOverwrite $file (deepCopy .Values.webConfig) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "tallygate.tlsSecret" -}}
{{- default (printf "%s-tls" (include "tallygate.fullname" .)) (tpl .Values.tls.existingSecret .) -}}
{{- end -}}

{{- define "tallygate.authSecret" -}}
{{- default (printf "%s-users" (include "tallygate.fullname" .)) (tpl .Values.auth.existingSecret .) -}}
{{- end -}}

{{- define "tallygate.authKey" -}}
{{- empty .Values.auth.existingSecret | ternary "users.yaml" .Values.auth.existingSecretKey -}}
{{- end -}}

{{- define "tallygate.scheme" -}}
{{- .Values.tls.enabled | ternary "https" "http" -}}
{{- end -}}
