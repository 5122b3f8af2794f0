{{/* What driver, executors and doctor have in common. All take a dict: root, role (driver, executor) and, where it is
     not the role, component. */}}

{{- define "verger.podMetadata" -}}
{{- $pod := index .root.Values .role -}}
{{- $component := .component | default .role -}}
labels:
  {{- with $pod.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "verger.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ $component }}
{{- $annotations := $pod.annotations }}
{{- if eq .role "driver" }}
{{- $annotations = merge (dict) $annotations (dict "karpenter.sh/do-not-disrupt" "true" "cluster-autoscaler.kubernetes.io/safe-to-evict" "false") }}
{{- end }}
{{- if and (eq $component "driver") .root.Values.metrics.enabled }}
{{- $annotations = merge (dict "prometheus.io/scrape" "true" "prometheus.io/port" "4040" "prometheus.io/path" "/metrics/prometheus") $annotations }}
{{- end }}
{{- if eq $component "doctor" }}{{/* not hook-succeeded: helm 3 could not show its log then */}}
{{- $annotations = merge (dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation") $annotations }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pod but its containers and volumes. */}}
{{- define "verger.podSpec" -}}
{{- $pod := index .root.Values .role -}}
automountServiceAccountToken: {{ eq .role "driver" }}
enableServiceLinks: false # a service called verger-cores would be a setting
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $name, $value := .root.Values.securityContext }}
  {{- if not (kindIs "invalid" $value) }}
  {{ $name }}: {{ int64 $value }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
affinity:
  {{- include "verger.affinity" . | nindent 2 }}
{{- with $pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := $pod.tolerations }}
{{- if and (eq .role "executor") .root.Values.spot.enabled }}
{{- $tolerations = concat $tolerations .root.Values.spot.tolerations }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* All affinity, in one place: the operator's webhook replaces a template's by one of the SparkApplication's own. */}}
{{- define "verger.affinity" -}}
{{- $spot := and (eq .role "executor") .root.Values.spot.enabled -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - key: topology.kubernetes.io/region
            operator: In
            values: {{ include "verger.regions" .root }}
          - key: kubernetes.io/os
            operator: In
            values: [linux]
          - key: kubernetes.io/arch
            operator: In
            values: {{ toJson .root.Values.image.architectures }}
          {{- if not $spot }}
          {{- range $label, $value := .root.Values.spot.nodeLabels }}
          - key: {{ $label | quote }}
            operator: NotIn
            values: [{{ $value | quote }}]
          {{- end }}
          {{- end }}
          {{- with (index .root.Values .role).nodeExpressions }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
  {{- if $spot }}
  {{- with .root.Values.spot.nodeLabels }}
  preferredDuringSchedulingIgnoredDuringExecution:
    {{- range $label, $value := . }}
    - weight: 100
      preference:
        matchExpressions:
          - key: {{ $label | quote }}
            operator: In
            values: [{{ $value | quote }}]
    {{- end }}
  {{- end }}
  {{- end }}
{{- if and (eq .role "executor") .root.Values.executor.spreadOverNodes }}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          {{- include "verger.selector" (list .root "executor") | nindent 10 }}
{{- end }}
{{- end }}

{{/* The container but its name, image, arguments and resources. */}}
{{- define "verger.container" -}}
{{- $pod := index .root.Values .role -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
terminationMessagePolicy: FallbackToLogsOnError
{{- if and (not .component) (or $pod.ephemeralStorageRequest $pod.ephemeralStorageLimit) }}
resources: # Spark adds cores and memory
  {{- include "verger.storageResources" . | nindent 2 }}
{{- end }}
env:
  - name: HOME
    value: /tmp
  {{- if eq (.component | default "") "doctor" }}
  - name: VERGER_CORES # of the Spark that the doctor tries; executors have their own
    value: "1"
  {{- end }}
  {{- with .root.Values.credentials.existingSecret }}
  {{- range $key := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" }}
  - name: {{ $key }}
    valueFrom:
      secretKeyRef:
        name: {{ $.root.Values.credentials.existingSecret | quote }}
        key: {{ $key }}
        {{- if eq $key "AWS_SESSION_TOKEN" }}
        optional: true
        {{- end }}
  {{- end }}
  {{- end }}
  {{- if .root.Values.caBundle.configMap }}
  - name: AWS_CA_BUNDLE
    value: /etc/verger-ca/ca.crt
  {{- end }}
  {{- with .root.Values.proxy }}
  {{- if .url }}
  {{- $without := "localhost,127.0.0.1,169.254.169.254,169.254.170.23,kubernetes.default.svc,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)" }}
  {{- with .noProxy }}{{ $without = printf "%s,%s" $without . }}{{ end }}
  {{- $address := trimSuffix "/" .url }}
  {{- range $name, $value := dict "HTTP_PROXY" $address "HTTPS_PROXY" $address "NO_PROXY" $without }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  - name: {{ lower $name }}
    value: {{ $value | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with $pod.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $pod.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: verger-tmp
    mountPath: /tmp
  - name: verger-work
    mountPath: /opt/spark/work-dir
  {{- if eq .role "driver" }}
  - name: verger-run
    mountPath: /etc/verger
    readOnly: true
  {{- end }}
  {{- if .root.Values.caBundle.configMap }}
  - name: verger-ca
    mountPath: /etc/verger-ca
    readOnly: true
  {{- end }}
  {{- if include "verger.localDirSize" . }}
  - name: spark-local-dir-1
    mountPath: {{ include "verger.localDirPath" . }}
  {{- end }}
  {{- with $pod.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "verger.storageResources" -}}
{{- $pod := index .root.Values .role -}}
{{- with $pod.ephemeralStorageRequest -}}
requests:
  ephemeral-storage: {{ . | quote }}
{{ end }}
{{- with $pod.ephemeralStorageLimit -}}
limits:
  ephemeral-storage: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "verger.volumes" -}}
{{- $empty := "emptyDir: {}" }}
{{- with (index .root.Values .role).emptyDirSizeLimit }}{{ $empty = printf "emptyDir: {sizeLimit: %s}" (quote .) }}{{ end -}}
- name: verger-tmp
  {{ $empty }}
- name: verger-work
  {{ $empty }}
{{- with include "verger.localDirSize" . }}
- name: spark-local-dir-1
  emptyDir:
    sizeLimit: {{ . | quote }}
    {{- if eq (lower (get $.root.Values.sparkConf "spark.kubernetes.local.dirs.tmpfs" | default "")) "true" }}
    medium: Memory
    {{- end }}
{{- end }}
{{- if eq .role "driver" }}
- name: verger-run
  configMap:
    name: {{ .root.Release.Name | quote }}
{{- end }}
{{- with .root.Values.caBundle }}
{{- if .configMap }}
- name: verger-ca
  configMap:
    name: {{ .configMap | quote }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- range (index .root.Values .role).volumes }}
{{- $volume := . }}
{{- if hasKey . "emptyDir" }}{{ $volume = set (omit . "emptyDir") "emptyDir" (.emptyDir | default dict) }}{{ end }}
{{ toYaml (list $volume) }}
{{- end }}
{{- end }}

{{/* The limit of the folder for Spark's own files. Spark makes that without one, unless a volume whose name begins with
     spark-local-dir- is mounted: the chart's where there is a limit and no such volume of the user's. */}}
{{- define "verger.localDirSize" -}}
{{- $pod := index .root.Values .role }}
{{- $theirs := regexMatch (printf " spark\\.kubernetes\\.%s\\.volumes\\.[A-Za-z]+\\.spark-local-dir-" .role) (printf " %s" (join " " (keys .root.Values.sparkConf))) }}
{{- range $pod.volumeMounts }}{{ if hasPrefix "spark-local-dir-" .name }}{{ $theirs = true }}{{ end }}{{ end }}
{{- if not (or .component $theirs) }}{{ $pod.emptyDirSizeLimit }}{{ end }}
{{- end }}

{{- define "verger.localDirPath" -}}
/var/data/verger
{{- end }}
