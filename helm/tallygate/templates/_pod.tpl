{{- /* The pod template, the same for StatefulSet and Deployment. */ -}}
{{- define "tallygate.pod" -}}
{{- $v := .Values -}}
metadata:
  # Without the versions of chart and server: a new chart that changes nothing here leaves the pods alone.
  labels:
    {{- range $key, $value := mergeOverwrite (deepCopy $v.commonLabels) $v.podLabels }}
    {{ $key }}: {{ tpl (toString $value) $ | quote }}
    {{- end }}
    {{- include "tallygate.selectorLabels" . | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: tallygate
    {{- if not $v.existingConfigMap }}
    # The gateway reads its file at start, so a change of it replaces the pods.
    checksum/config: {{ include "tallygate.config" . | sha256sum }}
    {{- end }}
    {{- if $v.scrapeAnnotations.enabled }}
    prometheus.io/scrape: "true"
    prometheus.io/port: {{ $v.ports.http | quote }}
    prometheus.io/path: {{ include "tallygate.prefix" . }}/metrics
    {{- end }}
    {{- range $key, $value := mergeOverwrite (deepCopy $v.commonAnnotations) $v.podAnnotations }}
    {{ $key }}: {{ tpl (toString $value) $ | quote }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tallygate.serviceAccountName" . }}
  automountServiceAccountToken: {{ $v.serviceAccount.automountServiceAccountToken }}
  enableServiceLinks: {{ $v.enableServiceLinks }}
  {{- with include "tallygate.imagePullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if kindIs "bool" $v.hostUsers }}
  hostUsers: {{ $v.hostUsers }}
  {{- end }}
  securityContext:
    {{- include "tallygate.securityContext" (dict "root" . "context" $v.podSecurityContext) | nindent 4 }}
  terminationGracePeriodSeconds: {{ $v.terminationGracePeriodSeconds }}
  {{- with $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with $v.schedulerName }}
  schedulerName: {{ . }}
  {{- end }}
  {{- with $v.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with $v.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.nodeSelector }}
  nodeSelector:
    {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 4 }}
  {{- end }}
  {{- with $v.tolerations }}
  tolerations:
    {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 4 }}
  {{- end }}
  {{- with include "tallygate.affinity" . }}
  affinity:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with include "tallygate.topologySpread" . }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with $v.initContainers }}
  initContainers:
    {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 4 }}
  {{- end }}
  containers:
    - name: tallygate
      image: {{ include "tallygate.image" (dict "root" . "image" $v.image) }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args:
        - --config.file=/etc/tallygate/{{ empty $v.existingConfigMap | ternary "tallygate.yaml" $v.existingConfigMapKey }}
        # A flag, since it must win over the variable that the image sets for those who run it without a chart.
        - --store.path={{ eq $v.store.type "disk" | ternary "/data/store" "" }}
        {{- range $v.extraArgs }}
        - {{ tpl (toString .) $ | quote }}
        {{- end }}
      {{- with $v.extraEnv }}
      env:
        {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 8 }}
      {{- end }}
      {{- with $v.extraEnvFrom }}
      envFrom:
        {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: {{ $v.ports.http }}
          protocol: TCP
        - name: telemetry
          containerPort: {{ $v.ports.telemetry }}
          protocol: TCP
      {{- range $name := list "startupProbe" "livenessProbe" "readinessProbe" }}
      {{- $probe := get $v $name }}
      {{- if $probe.enabled }}
      {{ $name }}:
        {{- omit $probe "enabled" | toYaml | nindent 8 }}
      {{- end }}
      {{- end }}
      {{- with $v.lifecycle }}
      lifecycle:
        {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 8 }}
      {{- end }}
      resources:
        {{- toYaml $v.resources | nindent 8 }}
      {{- with $v.resizePolicy }}
      resizePolicy:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "tallygate.securityContext" (dict "root" . "context" $v.securityContext) | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/tallygate
          readOnly: true
        {{- range include "tallygate.secretVolumes" . | fromYamlArray }}
        # Not by subPath: what changes in the Secret must reach the process, which looks every second.
        - name: {{ .name }}
          mountPath: {{ .path }}
          readOnly: true
        {{- end }}
        {{- if eq $v.store.type "disk" }}
        - name: data
          mountPath: /data
          {{- with $v.persistence.subPath }}
          subPath: {{ . }}
          {{- end }}
        {{- end }}
        {{- with $v.extraVolumeMounts }}
        {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 8 }}
        {{- end }}
    {{- with $v.extraContainers }}
    {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "tallygate.configMapName" . }}
    {{- range include "tallygate.secretVolumes" . | fromYamlArray }}
    - name: {{ .name }}
      secret:
        secretName: {{ .secret }}
        defaultMode: 0440
    {{- end }}
    {{- if and (eq $v.store.type "disk") (not (include "tallygate.claimTemplate" .)) }}
    - name: data
      {{- if include "tallygate.persistent" . }}
      persistentVolumeClaim:
        claimName: {{ include "tallygate.claimName" . }}
      {{- else }}
      emptyDir:
        {{- toYaml $v.persistence.emptyDir | nindent 8 }}
      {{- end }}
    {{- end }}
    {{- with $v.extraVolumes }}
    {{- include "tallygate.tpl" (dict "root" $ "value" .) | nindent 4 }}
    {{- end }}
{{- end -}}

{{- /* Secrets that are mounted: name, secret, path. */ -}}
{{- define "tallygate.secretVolumes" -}}
{{- if .Values.tls.enabled }}
- {name: tls, secret: {{ include "tallygate.tlsSecret" . }}, path: /etc/tallygate-tls}
{{- if .Values.tls.clientCA.existingSecret }}
- {name: client-ca, secret: {{ tpl .Values.tls.clientCA.existingSecret . }}, path: /etc/tallygate-client-ca}
{{- end }}
{{- end }}
{{- if .Values.auth.enabled }}
- {name: auth, secret: {{ include "tallygate.authSecret" . }}, path: /etc/tallygate-auth}
{{- end }}
{{- end -}}

{{- /* A security context; on OpenShift without the ids, which the platform gives. */ -}}
{{- define "tallygate.securityContext" -}}
{{- $context := .context -}}
{{- if .root.Values.openshift.enabled -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "tallygate.affinity" -}}
{{- if .Values.affinity -}}
{{- include "tallygate.tpl" (dict "root" . "value" .Values.affinity) -}}
{{- else if ne .Values.podAntiAffinityPreset "none" -}}
{{- $term := dict
  "topologyKey" "kubernetes.io/hostname"
  "labelSelector" (dict "matchLabels" (include "tallygate.selectorLabels" . | fromYaml))
-}}
podAntiAffinity:
  {{- if eq .Values.podAntiAffinityPreset "hard" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    - {{ toYaml $term | nindent 6 | trim }}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        {{- toYaml $term | nindent 8 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /*
The constraints as given; a selector that is left out is that of our pods. In a Deployment only pods of the same
revision are counted, unless the constraint says otherwise.
*/ -}}
{{- define "tallygate.topologySpread" -}}
{{- $all := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $constraint := deepCopy . -}}
{{- if not (hasKey $constraint "labelSelector") -}}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "tallygate.selectorLabels" $ | fromYaml)) -}}
{{- if and (not (hasKey $constraint "matchLabelKeys")) (eq (include "tallygate.kind" $) "Deployment") -}}
{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") -}}
{{- end -}}
{{- end -}}
{{- $all = append $all $constraint -}}
{{- end -}}
{{- with $all -}}
{{- include "tallygate.tpl" (dict "root" $ "value" .) -}}
{{- end -}}
{{- end -}}
