{{/* What the operator is told of one run: the spec of a SparkApplication, which a ScheduledSparkApplication repeats. */}}
{{- define "verger.application" -}}
{{- $driver := dict "root" $ "role" "driver" }}
{{- $executor := dict "root" $ "role" "executor" -}}
type: Python
pythonVersion: "3"
sparkVersion: 4.3.0
mode: cluster
image: {{ include "verger.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
mainApplicationFile: local:///opt/verger/main.py
arguments:
  {{- include "verger.arguments" . | nindent 2 }}
{{- if and .Values.suspend (not .Values.schedule.cron) }}
suspend: true
{{- end }}
restartPolicy:
  type: OnFailure
  onFailureRetries: {{ .Values.retries }}
  onFailureRetryInterval: 10
  onSubmissionFailureRetries: 3
  onSubmissionFailureRetryInterval: 10
{{- with .Values.timeToLiveSeconds }}
timeToLiveSeconds: {{ int64 . }}
{{- end }}
sparkConf:
  # Pods that are no part of the run can neither join it nor read along, and nobody ends it by the UI.
  spark.authenticate: "true"
  spark.network.crypto.enabled: "true"
  spark.network.crypto.cipher: AES/GCM/NoPadding
  spark.ui.killEnabled: "false"
  {{- with .Values.proxy.url }}
  # S3A does not read the variables that boto3 does.
  spark.hadoop.fs.s3a.proxy.host: {{ regexReplaceAll "^http://|:[0-9]+/?$" . "" | quote }}
  spark.hadoop.fs.s3a.proxy.port: {{ regexFind "[0-9]+$" (trimSuffix "/" .) | quote }}
  {{- end }}
  # The one thing about executors' pods that Spark takes from here and not from their template.
  spark.kubernetes.executor.terminationGracePeriodSeconds: {{ printf "%ds" (int64 .Values.executor.terminationGracePeriodSeconds) }}
  {{- range $key, $value := .Values.sparkConf }}
  {{ $key }}: {{ $value | quote }}
  {{- end }}
driver:
  cores: {{ .Values.driver.cores }}
  {{- with .Values.driver.coreRequest }}
  coreRequest: {{ . | quote }}
  {{- end }}
  {{- with .Values.driver.coreLimit }}
  coreLimit: {{ . | quote }}
  {{- end }}
  memory: {{ include "verger.driverMemory" . }}
  memoryOverhead: {{ include "verger.memoryOverhead" (list . "driver") }}
  serviceAccount: {{ include "verger.serviceAccount" (list . "driver") | quote }}
  template:
    metadata:
      {{- include "verger.podMetadata" $driver | nindent 6 }}
    spec:
      {{- include "verger.podSpec" $driver | nindent 6 }}
      terminationGracePeriodSeconds: {{ .Values.driver.terminationGracePeriodSeconds }}
      {{- with include "verger.deadline" . }}
      activeDeadlineSeconds: {{ . }} # of this attempt
      {{- end }}
      containers:
        - name: spark-kubernetes-driver
          {{- include "verger.container" $driver | nindent 10 }}
      volumes:
        {{- include "verger.volumes" $driver | nindent 8 }}
executor:
  instances: {{ .Values.executor.instances }}
  cores: {{ .Values.executor.cores }}
  {{- with .Values.executor.coreRequest }}
  coreRequest: {{ . | quote }}
  {{- end }}
  {{- with .Values.executor.coreLimit }}
  coreLimit: {{ . | quote }}
  {{- end }}
  memory: {{ .Values.executor.memory }}
  memoryOverhead: {{ include "verger.memoryOverhead" (list . "executor") }}
  serviceAccount: {{ include "verger.serviceAccount" (list . "executor") | quote }}
  template:
    metadata:
      {{- include "verger.podMetadata" $executor | nindent 6 }}
    spec:
      {{- include "verger.podSpec" $executor | nindent 6 }}
      containers:
        - name: spark-kubernetes-executor
          {{- include "verger.container" $executor | nindent 10 }}
      volumes:
        {{- include "verger.volumes" $executor | nindent 8 }}
{{- end }}
