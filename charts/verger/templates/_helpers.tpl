{{- define "verger.labels" -}}
app.kubernetes.io/name: verger
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* By these pods are known, to policies and to people. Takes (list $ component...). */}}
{{- define "verger.selector" -}}
matchLabels:
  app.kubernetes.io/name: verger
  app.kubernetes.io/instance: {{ (first .).Release.Name | quote }}
{{- if eq (len .) 2 }}
  app.kubernetes.io/component: {{ last . }}
{{- else }}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: {{ toJson (rest .) }}
{{- end }}
{{- end }}

{{- define "verger.image" -}}
{{- with .Values.image -}}
{{ .repository }}
{{- if or .tag (not .digest) }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* Takes (list $ role). */}}
{{- define "verger.serviceAccount" -}}
{{- $role := last . }}{{ with first . -}}
{{ (index .Values $role).serviceAccount.name | default (printf "%s-%s" .Release.Name $role) }}
{{- end }}
{{- end }}

{{/* The run's settings that were given; the rest are RunConfig's defaults, which the image knows. */}}
{{- define "verger.config" -}}
{{- $config := dict "name" .Release.Name }}
{{- range $name, $value := .Values.run }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $config $name $value }}{{ end }}
{{- end }}
{{- with include "verger.executorsTimeout" . }}{{ $_ := set $config "executors_timeout" (int64 .) }}{{ end }}
{{- toYaml $config }}
{{- end }}

{{- define "verger.arguments" -}}
- {{ .Values.command }}
{{- if eq .Values.command "project" }}
- --run
- {{ .Values.fittedRun | quote }}
{{- end }}
- --config
- /etc/verger/run.yaml
{{- end }}

{{- define "verger.driverMemory" -}}
{{ required "run.driver_memory: is required, since the driver's pod is sized by it" .Values.run.driver_memory }}
{{- end }}

{{/* Java's size, 512m or 2g, in MiB. */}}
{{- define "verger.mebibytes" -}}
{{- $size := int (regexFind "^[0-9]+" .) }}{{ if hasSuffix "g" . }}{{ mul $size 1024 }}{{ else }}{{ $size }}{{ end }}
{{- end }}

{{/* What a pod takes beside its JVM's heap, as measured: 384 MiB of the JVM, and Python's. */}}
{{- define "verger.memoryOverhead" -}}
{{- $role := last . }}{{ with first . -}}
{{- if (index .Values $role).memoryOverhead }}{{ (index .Values $role).memoryOverhead }}
{{- else if eq $role "driver" }}{{ add 384 768 (div (int (include "verger.mebibytes" (include "verger.driverMemory" .))) 2) }}m
{{- else }}{{ add 384 (mul 1280 (int .Values.executor.cores)) }}m
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds of one attempt, or nothing: its share of them all, and no more than its own deadline. */}}
{{- define "verger.deadline" -}}
{{- $deadline := .Values.deadlineSeconds }}
{{- if .Values.totalDeadlineSeconds }}
{{- $share := int64 (include "verger.share" .) }}
{{- $deadline = min $share (int64 ($deadline | default $share)) }}
{{- end }}
{{- with $deadline }}{{ int64 . }}{{ end }}
{{- end }}

{{/* An attempt's share of totalDeadlineSeconds; the operator waits for ten seconds between two. */}}
{{- define "verger.share" -}}
{{- $retries := int64 .Values.retries -}}
{{ div (sub (int64 .Values.totalDeadlineSeconds) (mul 10 $retries)) (add1 $retries) }}
{{- end }}

{{/* Half of what an attempt may take, where none was given and the default is longer: the deadline would end the pod before the
run could say why no executor comes. */}}
{{- define "verger.executorsTimeout" -}}
{{- $given := get .Values.run "executors_timeout" }}
{{- with include "verger.deadline" . }}
{{- if and (or (kindIs "invalid" $given) (kindIs "string" $given)) (lt (int64 .) 3600) }}{{ div (int64 .) 2 }}{{ end }}
{{- end }}
{{- end }}

{{/* Regions on whose nodes pods may run: those of the values, and what `run` opts in to. */}}
{{- define "verger.regions" -}}
{{- $regions := .Values.residency.regions }}
{{- if .Values.run.allow_london }}{{ $regions = append $regions "eu-west-2" }}{{ end }}
{{- if .Values.run.allow_zurich }}{{ $regions = append $regions "eu-central-2" }}{{ end }}
{{- range .Values.run.node_region }}{{ $regions = append $regions (regexFind "^[^:]+" .) }}{{ end }}
{{- toJson (uniq $regions) }}
{{- end }}

{{/* Whether the store is AWS, by the endpoint that was given; without TLS it would be any address on port 80. */}}
{{- define "verger.onAws" -}}
{{- if regexMatch "^(https://([^/]*\\.)?amazonaws\\.(com|eu)(:[0-9]+)?/?)?$" (.Values.run.endpoint_url | default "") }}true{{ end }}
{{- end }}
