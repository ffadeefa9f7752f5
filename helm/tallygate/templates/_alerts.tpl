{{- /*
The alerts. Each has an expression, with $sel for the labels that choose this release and $t for its threshold, and
texts. Whether it is on, how long it waits, its severity and threshold are values: prometheusRule.rules.<name>.
*/ -}}
{{- define "tallygate.alerts" -}}
{{- $rules := .Values.prometheusRule.rules -}}
{{- $job := default (include "tallygate.fullname" .) .Values.prometheusRule.job -}}
{{- $sel := printf "job=%q,namespace=%q" $job (include "tallygate.namespace" .) -}}
{{- $memory := "" -}}
{{- with .Values.resources.limits -}}{{- $memory = include "tallygate.bytes" (default "" .memory) -}}{{- end -}}
{{- $replicas := int .Values.replicaCount -}}
{{- $alerts := list
  (dict "name" "Down"
    "expr" (printf `absent(up{%s} == 1)` $sel)
    "summary" "Tallygate is down."
    "description" (printf "Prometheus reaches no target of job %s in namespace %s. Pushes are being lost." $job (include "tallygate.namespace" .)))
  (dict "name" "TargetDown"
    "expr" (printf `up{%s} == 0` $sel)
    "summary" "A target of Tallygate is down."
    "description" "{{ $labels.pod }} {{ $labels.instance }} cannot be scraped.")
  (dict "name" "ReplicasMissing"
    "expr" (printf `count(tallygate_build_info{%s}) < %d` $sel $replicas)
    "summary" "Replicas of Tallygate are missing."
    "description" (printf "{{ $value }} of %d replicas can be scraped." $replicas))
  (dict "name" "Restarting"
    "expr" (printf `changes(tallygate_process_start_time_seconds{%s}[1h]) > %%v` $sel)
    "summary" "Tallygate restarts again and again."
    "description" "{{ $labels.pod }} {{ $labels.instance }} has started {{ $value }} times within an hour.")
  (dict "name" "PushesFailing"
    "expr" (printf `sum(rate(tallygate_pushes_total{%[1]s,outcome!="accepted"}[5m])) / sum(rate(tallygate_pushes_total{%[1]s}[5m])) > %%v` $sel)
    "summary" "Many pushes are refused."
    "description" "{{ $value | humanizePercentage }} of the pushes are refused. The log of the gateway has the reasons.")
  (dict "name" "PushesUnavailable"
    "expr" (printf `sum by (pod, instance) (rate(tallygate_pushes_total{%s,outcome="unavailable"}[5m])) > %%v` $sel)
    "summary" "Pushes are refused because Tallygate cannot take them."
    "description" "{{ $labels.pod }} {{ $labels.instance }} answers {{ $value | humanize }} pushes a second with 503. Clients that do not try again lose them.")
  (dict "name" "LimitRefusals"
    "expr" (printf `sum by (limit) (increase(tallygate_limit_refusals_total{%s}[15m])) > %%v` $sel)
    "summary" "Pushes are refused by a limit."
    "description" "limits.{{ $labels.limit }} has turned away {{ $value | humanize }} pushes or connections within 15 minutes.")
  (dict "name" "PushSlow"
    "expr" (printf `histogram_quantile(0.99, sum by (le) (rate(tallygate_push_duration_seconds_bucket{%s}[5m]))) > %%v` $sel)
    "summary" "Pushes are slow."
    "description" "One push in a hundred takes longer than {{ $value | humanizeDuration }}.")
  (dict "name" "NoPushes"
    "expr" (printf `sum(rate(tallygate_pushes_total{%[1]s}[15m])) == 0 and sum(rate(tallygate_pushes_total{%[1]s}[15m] offset 1d)) > 0` $sel)
    "summary" "Nobody pushes any more."
    "description" "There were pushes at this time yesterday, and there are none now.")
  (dict "name" "LimitNear"
    "expr" (printf `tallygate_limit_used{%[1]s} / (tallygate_limit{%[1]s} > 0) > %%v` $sel)
    "summary" "Tallygate comes near a limit."
    "description" "{{ $labels.pod }} {{ $labels.instance }} has used {{ $value | humanizePercentage }} of limits.{{ $labels.limit }}. Beyond it new series are refused.")
  (dict "name" "SeriesLimitPredicted"
    "expr" (printf `predict_linear(tallygate_limit_used{%[1]s,limit="series"}[1h], 6 * 3600) > (tallygate_limit{%[1]s,limit="series"} > 0)` $sel)
    "summary" "Tallygate will reach its limit of series within hours."
    "description" "At the present rate {{ $labels.pod }} {{ $labels.instance }} has {{ $value | humanize }} series in six hours, which is more than limits.series. Look for a label with ever new values.")
  (dict "name" "FileDescriptorsNear"
    "expr" (printf `tallygate_process_open_fds{%[1]s} / tallygate_process_max_fds{%[1]s} > %%v` $sel)
    "summary" "Tallygate comes near its limit of file descriptors."
    "description" "{{ $labels.pod }} {{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open.")
  (dict "name" "MemoryNear"
    "expr" (empty $memory | ternary "" (printf `tallygate_process_resident_memory_bytes{%s} / %s > %%v` $sel $memory))
    "summary" "Tallygate comes near its memory limit."
    "description" "{{ $labels.pod }} {{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory it may have. Beyond it, it is killed.")
  (dict "name" "ScrapeSlow"
    "expr" (printf `scrape_duration_seconds{%s} > %%v` $sel)
    "summary" "Scrapes of Tallygate are slow."
    "description" "A scrape of {{ $labels.instance }} takes {{ $value | humanizeDuration }}. When it takes longer than the scrape timeout, nothing is seen any more.")
  (dict "name" "ScrapeLarge"
    "expr" (printf `scrape_samples_scraped{%s} > %%v` $sel)
    "summary" "Scrapes of Tallygate are large."
    "description" "A scrape of {{ $labels.instance }} has {{ $value | humanize }} samples.")
  (dict "name" "ScrapeLeavesOut"
    "expr" (printf `sum by (what) (increase(tallygate_scrape_left_out_total{%s}[15m])) > %%v` $sel)
    "summary" "Scrapes leave out what was pushed."
    "description" "{{ $labels.what }} were left out of scrapes, because their escaped names collide. Rename them, or let Prometheus scrape without escaping.")
  (dict "name" "ConfigReloadFailed"
    "expr" (printf `tallygate_config_last_reload_successful{%s} == 0` $sel)
    "summary" "The configuration of Tallygate has errors."
    "description" "{{ $labels.pod }} {{ $labels.instance }} could not load its configuration and goes on with the old one. A restart would fail.")
  (dict "name" "WebConfigReloadFailed"
    "expr" (printf `tallygate_web_config_last_reload_successful{%s} == 0` $sel)
    "summary" "Certificates or users of Tallygate have errors."
    "description" "{{ $labels.pod }} {{ $labels.instance }} could not load its web configuration or its users and goes on with the old ones. A restart would fail.")
  (dict "name" "CertificateExpiring"
    "expr" (printf `(tallygate_tls_cert_not_after_timestamp_seconds{%s} - time()) / 86400 < %%v` $sel)
    "summary" "The certificate of Tallygate expires."
    "description" "The certificate of {{ $labels.pod }} {{ $labels.instance }} is good for {{ $value | humanize }} more days. Clients refuse it then.")
  (dict "name" "AuthRefusals"
    "expr" (printf `sum by (reason) (rate(tallygate_auth_refusals_total{%s}[5m])) > %%v` $sel)
    "summary" "Requests are refused because of who sends them."
    "description" "{{ $value | humanize }} requests a second are refused: {{ $labels.reason }}.")
-}}
{{- range $alert := $alerts -}}
{{- $settings := get $rules $alert.name -}}
{{- if and $settings.enabled $alert.expr }}
- alert: Tallygate{{ $alert.name }}
  expr: {{ (replace "%v" (toString $settings.threshold) $alert.expr) | squote }}
  for: {{ $settings.for }}
  labels:
    severity: {{ $settings.severity }}
    {{- with $.Values.prometheusRule.alertLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    summary: {{ $alert.summary | squote }}
    description: {{ $alert.description | squote }}
    {{- with $.Values.prometheusRule.runbookBaseUrl }}
    runbook_url: {{ . }}#{{ printf "tallygate%s" $alert.name | lower }}
    {{- end }}
{{- end }}
{{- end -}}
{{- end -}}
