{{- /*
Combinations that would lose data, count it twice, or leave a pod that cannot start. Each fails the render with a
sentence that names the values in conflict. What a single value may be is for values.schema.json.
*/ -}}
{{- define "tallygate.guards" -}}
{{- $v := .Values -}}
{{- $kind := include "tallygate.kind" . -}}
{{- $replicas := int $v.replicaCount -}}
{{- $disk := eq $v.store.type "disk" -}}
{{- $persistent := include "tallygate.persistent" . -}}

{{- if and (eq $v.mode "pushgateway") (gt $replicas 1) -}}
{{- fail "mode=pushgateway with replicaCount above 1: a push would replace a group in one replica only, and the others would go on showing the old one. Set replicaCount to 1, or mode to aggregate." -}}
{{- end -}}
{{- if and $persistent $v.persistence.existingClaim (gt $replicas 1) -}}
{{- fail "persistence.existingClaim with replicaCount above 1: two processes cannot share one store. Leave existingClaim empty, so that each replica gets a volume of its own, or set replicaCount to 1." -}}
{{- end -}}
{{- if and $persistent (eq $kind "Deployment") (gt $replicas 1) -}}
{{- fail "kind=Deployment and store.type=disk with replicaCount above 1: the replicas would share one volume, and two processes cannot share one store. Set kind to StatefulSet, or replicaCount to 1." -}}
{{- end -}}
{{- if and $persistent (eq $kind "Deployment") (ne (default "Recreate" $v.deployment.strategy.type) "Recreate") -}}
{{- fail "deployment.strategy.type=RollingUpdate with store.type=disk: the new pod would wait for a volume that the old one holds. Set deployment.strategy.type to Recreate, or kind to StatefulSet." -}}
{{- end -}}
{{- if and (not $disk) $v.persistence.existingClaim -}}
{{- fail "persistence.existingClaim with store.type=memory: nothing would ever be written to the volume. Set store.type to disk, or leave existingClaim empty." -}}
{{- end -}}
{{- if and $disk (not $v.persistence.enabled) $v.persistence.existingClaim -}}
{{- fail "persistence.existingClaim with persistence.enabled=false: the claim would not be mounted. Set persistence.enabled to true, or leave existingClaim empty." -}}
{{- end -}}
{{- if eq (int $v.ports.http) (int $v.ports.telemetry) -}}
{{- fail "ports.http and ports.telemetry are the same: probes and own metrics need a port of their own." -}}
{{- end -}}

{{- range $key, $value := include "tallygate.ownedKeys" . | fromYaml -}}
{{- $parts := splitList "." $key -}}
{{- $section := get $v.config (first $parts) -}}
{{- $set := ternary (hasKey $v.config $key) (and (kindIs "map" $section) (hasKey (default (dict) $section) (last $parts))) (eq (len $parts) 1) -}}
{{- if $set -}}
{{- fail (printf "config.%s and %s say the same thing: set %s only, since the chart has to know it." $key $value $value) -}}
{{- end -}}
{{- end -}}
{{- if and $v.existingConfigMap $v.config -}}
{{- fail "existingConfigMap and config exclude each other: with existingConfigMap the whole file is yours, and config would be ignored." -}}
{{- end -}}

{{- if and $v.existingConfigMap (or $v.tls.enabled $v.auth.enabled $v.webConfig) -}}
{{- fail "existingConfigMap with tls, auth or webConfig: these would have to stand in the file, which is yours with existingConfigMap. Use config in its place, or extraVolumes." -}}
{{- end -}}
{{- if and $v.auth.enabled (not $v.auth.existingSecret) (not $v.auth.users) -}}
{{- fail "auth.enabled=true with neither auth.existingSecret nor auth.users: nobody could do anything. Name a Secret, or users." -}}
{{- end -}}
{{- if and $v.auth.existingSecret (or $v.auth.users $v.auth.anonymous) -}}
{{- fail "auth.users or auth.anonymous next to auth.existingSecret: the file of users is one or the other. Leave one of them empty." -}}
{{- end -}}
{{- if and (not $v.auth.enabled) (or $v.auth.existingSecret $v.auth.users) -}}
{{- fail "auth.existingSecret or auth.users with auth.enabled=false: everybody could push all the same. Set auth.enabled to true." -}}
{{- end -}}
{{- if and $v.tls.enabled (not $v.tls.existingSecret) (not $v.tls.certManager.enabled) -}}
{{- fail "tls.enabled=true with neither tls.existingSecret nor tls.certManager.enabled: there would be no certificate." -}}
{{- end -}}
{{- if and $v.tls.existingSecret $v.tls.certManager.enabled -}}
{{- fail "tls.existingSecret and tls.certManager.enabled exclude each other: cert-manager would write over a Secret that is yours. Leave one of them empty." -}}
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.enabled=true without tls.certManager.issuerRef.name: nobody would issue the certificate." -}}
{{- end -}}
{{- if and (not $v.tls.enabled) (or $v.tls.existingSecret $v.tls.certManager.enabled $v.tls.clientCA.existingSecret) -}}
{{- fail "tls.existingSecret, tls.certManager or tls.clientCA with tls.enabled=false: everything would be sent in the clear all the same. Set tls.enabled to true." -}}
{{- end -}}
{{- if and (hasKey $v.webConfig "tls_server_config") (not $v.tls.enabled) -}}
{{- fail "webConfig.tls_server_config with tls.enabled=false: the chart has to know whether TLS is spoken. Set tls.enabled to true." -}}
{{- end -}}

{{- $web := default (dict) $v.config.web -}}
{{- $stop := add (include "tallygate.seconds" (default "5s" $web.drain_delay)) (include "tallygate.seconds" (default "10s" $web.shutdown_timeout)) -}}
{{- if le (int $v.terminationGracePeriodSeconds) (int $stop) -}}
{{- fail (printf "terminationGracePeriodSeconds=%d is not above config.web.drain_delay and config.web.shutdown_timeout together (%d s): the gateway would be killed with pushes under way." (int $v.terminationGracePeriodSeconds) $stop) -}}
{{- end -}}

{{- $pdb := $v.podDisruptionBudget -}}
{{- if include "tallygate.pdb" . -}}
{{- if and (ne (toString $pdb.minAvailable) "") (ne (toString $pdb.maxUnavailable) "") -}}
{{- fail "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other: leave one of them empty." -}}
{{- end -}}
{{- $min := toString $pdb.minAvailable -}}
{{- if and (ne $min "") (or (eq $min "100%") (and (regexMatch "^[0-9]+$" $min) (ge (int $min) $replicas)) (and (hasSuffix "%" $min) (ne $min "0%") (eq $replicas 1))) -}}
{{- fail (printf "podDisruptionBudget.minAvailable=%s with replicaCount=%d: no pod could ever be evicted, so nodes could not be drained. Use podDisruptionBudget.maxUnavailable, or more replicas." $min $replicas) -}}
{{- end -}}
{{- end -}}

{{- if and $v.serviceMonitor.enabled $v.podMonitor.enabled -}}
{{- fail "serviceMonitor.enabled and podMonitor.enabled are both true: everything would be scraped twice, and every sum doubled. Choose one." -}}
{{- end -}}
{{- if and $v.scrapeAnnotations.enabled (or $v.serviceMonitor.enabled $v.podMonitor.enabled) -}}
{{- fail "scrapeAnnotations.enabled next to serviceMonitor.enabled or podMonitor.enabled: everything would be scraped twice, and every sum doubled. Choose one." -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.hosts) -}}
{{- fail "ingress.enabled=true with no ingress.hosts: name at least one host and path." -}}
{{- end -}}
{{- end -}}

{{- /* "true" where there is a PodDisruptionBudget: where asked for, and by itself with more than one replica. */ -}}
{{- define "tallygate.pdb" -}}
{{- $enabled := toString .Values.podDisruptionBudget.enabled -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (gt (int .Values.replicaCount) 1)) -}}true{{- end -}}
{{- end -}}
