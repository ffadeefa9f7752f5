{{- /* Names, labels, and small things that several templates need. */ -}}

{{- define "tallygate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- /* At most 52 characters: a StatefulSet adds 11 to it in a label of 63. */ -}}
{{- define "tallygate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tallygate.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- /* What selects our pods, and not that of `helm test`. It must never change between versions of the chart. */ -}}
{{- define "tallygate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tallygate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- /* Labels of every object. Pass a dict with root, and component where it is not the gateway. */ -}}
{{- define "tallygate.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "tallygate.name" .root)
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/component" (default "gateway" .component)
  "app.kubernetes.io/part-of" (include "tallygate.name" .root)
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- $more := dict -}}
{{- range $key, $value := mergeOverwrite (deepCopy .root.Values.commonLabels) (default (dict) .extra) -}}
{{- $_ := set $more $key (tpl (toString $value) $.root) -}}
{{- end -}}
{{- merge $own $more | toYaml -}}
{{- end -}}

{{- /* The metadata of an object: dict root, name; optional component, labels, annotations, namespace. */ -}}
{{- define "tallygate.metadata" -}}
name: {{ .name }}
namespace: {{ default (include "tallygate.namespace" .root) .namespace }}
labels:
  {{- include "tallygate.labels" (dict "root" .root "component" .component "extra" .labels) | nindent 2 }}
{{- with mergeOverwrite (deepCopy .root.Values.commonAnnotations) (default (dict) .annotations) }}
annotations:
  {{- range $key, $value := . }}
  {{ $key }}: {{ tpl (toString $value) $.root | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "tallygate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tallygate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tallygate.configMapName" -}}
{{- default (include "tallygate.fullname" .) (tpl .Values.existingConfigMap .) -}}
{{- end -}}

{{- define "tallygate.headlessName" -}}
{{- printf "%s-headless" (include "tallygate.fullname" .) -}}
{{- end -}}

{{- /* The image of a dict with root and image; a digest wins over a tag. */ -}}
{{- define "tallygate.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry -}}
{{- $name := .image.repository -}}
{{- if $registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $registry) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "tallygate.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $names = append $names (kindIs "map" . | ternary . (dict "name" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* StatefulSet or Deployment: the disk needs a volume per replica, memory does not. */ -}}
{{- define "tallygate.kind" -}}
{{- if .Values.kind -}}
{{- .Values.kind -}}
{{- else if eq .Values.store.type "disk" -}}
StatefulSet
{{- else -}}
Deployment
{{- end -}}
{{- end -}}

{{- /* "true" where the state lies on a volume that outlives the pod. */ -}}
{{- define "tallygate.persistent" -}}
{{- if and (eq .Values.store.type "disk") .Values.persistence.enabled -}}true{{- end -}}
{{- end -}}

{{- /* "true" where each replica gets a claim of its own, made from a template. */ -}}
{{- define "tallygate.claimTemplate" -}}
{{- if and (include "tallygate.persistent" .) (eq (include "tallygate.kind" .) "StatefulSet") (not .Values.persistence.existingClaim) -}}true{{- end -}}
{{- end -}}

{{- define "tallygate.claimName" -}}
{{- default (printf "%s-data" (include "tallygate.fullname" .)) (tpl .Values.persistence.existingClaim .) -}}
{{- end -}}

{{- /* The path below which pushes and scrapes are served: empty, or with a slash before and none behind. */ -}}
{{- define "tallygate.prefix" -}}
{{- $prefix := .Values.webPrefix -}}
{{- if and (not $prefix) .Values.externalURL -}}
{{- $prefix = (urlParse .Values.externalURL).path -}}
{{- end -}}
{{- with trimAll "/" $prefix -}}/{{ . }}{{- end -}}
{{- end -}}

{{- /* Whole seconds of a duration such as 1m30s, rounded up; 0 for what the server will refuse. */ -}}
{{- define "tallygate.seconds" -}}
{{- $ms := 0 -}}
{{- range regexFindAll "[0-9]+(ms|s|m|h|d)" (toString .) -1 -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- $ms = add $ms (mul $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit)) -}}
{{- end -}}
{{- div (add $ms 999) 1000 -}}
{{- end -}}

{{- /* Bytes of a quantity such as 512Mi or 1.5G; empty if it is none. */ -}}
{{- define "tallygate.bytes" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$" $text -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[a-zA-Z]+$" $text -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf $number (get $factors $unit) | int64 -}}
{{- end -}}
{{- end -}}

{{- /* A list or map of values, with templates in it evaluated: dict root, value. */ -}}
{{- define "tallygate.tpl" -}}
{{- tpl (kindIs "string" .value | ternary .value (.value | toYaml)) .root -}}
{{- end -}}
