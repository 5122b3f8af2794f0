{{/* What the schema cannot say, or not so that a person learns why. */}}
{{- define "verger.validate" -}}
{{- if .Release.IsUpgrade }}
{{- fail (printf "one release is one run, and a run cannot be changed: install under another name (run.name %s keeps the series), or `helm uninstall %s` and install again; the data stays" (.Values.run.name | default .Release.Name) .Release.Name) }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,51}[a-z0-9])?$" .Release.Name) }}
{{- fail (printf "release name %q: must be a DNS-1035 label of at most 53 characters (a-z, 0-9 and -, the first a letter, the last none of -), since pods and services are named after it" .Release.Name) }}
{{- end }}
{{- if and .Values.schedule.cron (gt (len .Release.Name) 43) }}
{{- fail (printf "release name %q: must have at most 43 characters with schedule.cron, since each run is named after it and the time" .Release.Name) }}
{{- end }}
{{- include "verger.validateDeadlines" . }}
{{- include "verger.validateRun" . }}
{{- include "verger.validateCron" . }}
{{- include "verger.validateSparkConf" . }}
{{- include "verger.validateLabels" . }}
{{- include "verger.validateNodeSelectors" . }}
{{- include "verger.validatePods" . }}
{{- include "verger.validateAddresses" . }}
{{- if not .Values.image.repository }}
{{- fail "image.repository: is required: the registry and name under which nodes pull the image, such as 111122223333.dkr.ecr.eu-west-3.amazonaws.com/verger" }}
{{- end }}
{{- if eq .Values.image.tag "latest" }}
{{- fail "image.tag: latest is refused, because it would not say later which version ran; name a version" }}
{{- end }}
{{- if and .Values.metrics.enabled (not .Values.metrics.namespaceLabels) }}
{{- fail "metrics.namespaceLabels: say from which namespace Prometheus reads, such as kubernetes.io/metadata.name: monitoring" }}
{{- end }}
{{- range $name := list "podMonitor" "prometheusRule" }}
{{- if and (index $.Values.metrics $name).enabled (not $.Values.metrics.enabled) }}
{{- fail (printf "metrics.%s.enabled: needs metrics.enabled, or Prometheus could not reach the driver" $name) }}
{{- end }}
{{- end }}
{{- if eq (include "verger.regions" .) "[]" }}
{{- fail "residency.regions: is empty, and run.allow_london, run.allow_zurich and run.node_region add none: no node would do" }}
{{- end }}
{{- end }}

{{- define "verger.validateRun" -}}
{{- $run := .Values.run }}
{{- if and (eq .Values.command "project") (not .Values.fittedRun) }}
{{- fail "fittedRun: is required by command project: the run, or output, whose components to use" }}
{{- end }}
{{- if and .Values.fittedRun (ne .Values.command "project") }}
{{- fail (printf "fittedRun: is for command project, not for %s" .Values.command) }}
{{- end }}
{{- range $name := list "input" "inventory" "output" "event_log" }}
{{- if not (regexMatch "^(s3a?://.*)?$" (get $run $name | default "")) }}
{{- fail (printf "run.%s: must be s3://BUCKET/FOLDER, since pods share no disk" $name) }}
{{- end }}
{{- end }}
{{- range $name, $place := dict "run.input" $run.input "run.inventory" $run.inventory "run.output" $run.output "run.event_log" $run.event_log "run.weights" $run.weights "fittedRun" .Values.fittedRun }}
{{- if regexMatch "^[a-z0-9]+://[^/]*@" ($place | default "") }}
{{- fail (printf "%s: must hold no user and password; keys belong into credentials.existingSecret" $name) }}
{{- end }}
{{- end }}
{{- range $region, $basis := dict "eu-west-2" "allow_london" "eu-central-2" "allow_zurich" }}
{{- range $run.node_region }}
{{- if and (eq (lower (regexFind "^[^:]+" .)) $region) (not (get $run $basis)) }}
{{- fail (printf "run.node_region: %s names a region that is not in the EU: give run.%s the legal basis on which pods may be there" . $basis) }}
{{- end }}
{{- end }}
{{- if and (eq ($run.region | default "") $region) (not (get $run $basis)) }}
{{- fail (printf "run.region: %s is not in the EU: give run.%s the legal basis on which data may be there" $region $basis) }}
{{- end }}
{{- end }}
{{- range $run.node_region }}
{{- if regexMatch (include "verger.abroad" $) (lower (regexFind "^[^:]+" .)) }}
{{- fail (printf "run.node_region: %s names a region of AWS outside the EU; only what another cloud calls its regions in the EU goes there" .) }}
{{- end }}
{{- end }}
{{- with include "verger.deadline" . }}
{{- if ge (float64 ($run.executors_timeout | default 0)) (float64 .) }}
{{- fail (printf "run.executors_timeout: %d s is no shorter than the %s s of an attempt (deadlineSeconds, totalDeadlineSeconds), which would end before it says why no executor comes" (int64 $run.executors_timeout) .) }}
{{- end }}
{{- end }}
{{- if $run.ca_bundle }}
{{- fail "run.ca_bundle: is a file of one machine; name a ConfigMap in caBundle.configMap, which driver and executors mount" }}
{{- end }}
{{- end }}

{{/* AWS's names of regions outside the EU, but the two that have an opt-in: those that verger.residency.regions refuses. */}}
{{- define "verger.abroad" -}}
^(us|us-gov|(us|eu)-iso[a-z]?|ca|mx|sa|af|me|il|ap|cn)-((north|south|central)(east|west)?|east|west)-[0-9]+$
{{- end }}

{{- define "verger.validateSparkConf" -}}
{{- $owned := dict
  "secret|password|token|access.?key" "it would be printed in the operator's log; keys belong into credentials.existingSecret"
  "authenticate|serviceaccount" "service accounts are driver.serviceAccount and executor.serviceAccount"
  "container\\.image" "the image is image.repository and image.tag"
  "kubernetes\\.(namespace|context|driver\\.master|driver\\.resourcenameprefix|submission|submitindriver)|pod\\.name|podname" "the operator sets it"
  "\\.(label|annotation)\\." "labels and annotations are driver.labels, executor.labels and annotations beside them"
  "node\\.selector" "node selectors are driver.nodeSelector and executor.nodeSelector"
  "podtemplate|featuresteps|securitycontext|driverenv" "pods are shaped by the chart's templates"
  "trust\\.certificates" "the API server is known by its certificate"
  "hostpath|volumes\\.nfs" "a node's disk is not the run's; Spark takes emptyDir and persistentVolumeClaim"
  "decommissionlabel|pods\\.allocator" "the driver's Role lets it make and delete pods, and neither change them nor make anything that does"
  "(request|limit)\\.cores|memoryoverhead|terminationgraceperiod" "it is a value of driver or executor"
}}
{{- range $key, $_ := .Values.sparkConf }}
{{- range $pattern, $why := $owned }}
{{- if regexMatch $pattern (lower $key) }}{{ fail (printf "sparkConf: %s is refused: %s" $key $why) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Policies, the operator and Spark know pods by these. */}}
{{- define "verger.validateLabels" -}}
{{- range $role := list "driver" "executor" }}
{{- include "verger.validateReserved" (dict "name" (printf "%s.labels" $role) "labels" (index $.Values $role).labels) }}
{{- end }}
{{- include "verger.validateReserved" (dict "name" "applicationLabels" "labels" .Values.applicationLabels) }}
{{- end }}

{{- define "verger.validateReserved" -}}
{{- $name := .name }}
{{- range $label, $_ := .labels }}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh|sparkoperator\\.k8s\\.io)/|^spark-" $label }}
{{- fail (printf "%s: %s is reserved; it identifies the pods" $name $label) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Both must hold of a node, so that a selector of another architecture or system would leave pods pending for ever. */}}
{{- define "verger.validateNodeSelectors" -}}
{{- range $role := list "driver" "executor" }}
{{- range $label, $allowed := dict "kubernetes.io/arch" $.Values.image.architectures "kubernetes.io/os" (list "linux") }}
{{- with get (index $.Values $role).nodeSelector $label }}
{{- if not (has . $allowed) }}
{{- fail (printf "%s.nodeSelector: %s: %s contradicts the image, which is for %s%s" $role $label . (join ", " $allowed) (ternary "; where it is built for others, name them in image.architectures" "" (eq $label "kubernetes.io/arch"))) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
