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
{{- $process := eq .Values.mode "pushgateway" | ternary "process" "tallygate_process" -}}
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
    "expr" (printf `changes(%s_start_time_seconds{%s}[1h]) > %%v` $process $sel)
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
    "expr" (printf `%[1]s_open_fds{%[2]s} / %[1]s_max_fds{%[2]s} > %%v` $process $sel)
    "summary" "Tallygate comes near its limit of file descriptors."
    "description" "{{ $labels.pod }} {{ $labels.instance }} has {{ $value | humanizePercentage }} of its file descriptors open.")
  (dict "name" "MemoryNear"
    "expr" (empty $memory | ternary "" (printf `%s_resident_memory_bytes{%s} / %s > %%v` $process $sel $memory))
    "summary" "Tallygate comes near its memory limit."
    "description" "{{ $labels.pod }} {{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory it may have. Beyond it, it is killed.")
  (dict "name" "StoreNotWritable"
    "expr" (printf `tallygate_store_writable{%s} == 0` $sel)
    "summary" "Tallygate cannot write its store."
    "description" "{{ $labels.pod }} {{ $labels.instance }} answers pushes with 503 until it can write again. The log has the reason.")
  (dict "name" "StoreErrors"
    "expr" (printf `increase(tallygate_store_commits_total{%s,outcome="failed"}[15m]) > %%v` $sel)
    "summary" "Writes to the store fail now and then."
    "description" "{{ $value | humanize }} commits of {{ $labels.pod }} {{ $labels.instance }} have failed within 15 minutes. Clients may count twice what they try again without a key.")
  (dict "name" "StoreSyncSlow"
    "expr" (printf `histogram_quantile(0.99, sum by (pod, instance, le) (rate(tallygate_store_sync_duration_seconds_bucket{%s}[5m]))) > %%v` $sel)
    "summary" "The disk of Tallygate is slow."
    "description" "One sync in a hundred of {{ $labels.pod }} {{ $labels.instance }} takes longer than {{ $value | humanizeDuration }}, and pushes wait for it.")
  (dict "name" "VolumeFillingUp"
    "expr" (printf `tallygate_store_free_bytes{%[1]s} / (tallygate_store_free_bytes{%[1]s} + tallygate_store_disk_bytes{%[1]s}) < %%v or (predict_linear(tallygate_store_free_bytes{%[1]s}[6h], 24 * 3600) < 0 and tallygate_store_free_bytes{%[1]s} < tallygate_store_disk_bytes{%[1]s})` $sel)
    "summary" "The volume of Tallygate fills up."
    "description" "The volume of {{ $labels.pod }} {{ $labels.instance }} is nearly full, or will be within a day. Pushes get 503 then.")
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
  (dict "name" "GroupPushFailed"
    "expr" (printf `push_failure_time_seconds{namespace=%[1]q} > push_time_seconds{namespace=%[1]q}` (include "tallygate.namespace" .))
    "summary" "The last push of a group has failed."
    "description" "The last push of job {{ $labels.job }} was refused, so its group shows what was pushed before. In pushgateway mode.")
  (dict "name" "GroupStale"
    "expr" (printf `time() - push_time_seconds{namespace=%q} > %%v` (include "tallygate.namespace" .))
    "summary" "A group was not pushed for long."
    "description" "Nobody has pushed to job {{ $labels.job }} for {{ $value | humanizeDuration }}. In pushgateway mode.")
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
