{{/* What Kubernetes or Spark would refuse of pods, after the release has been made: the operator submits it later. */}}
{{- define "verger.validatePods" -}}
{{- range $role := list "driver" "executor" }}
{{- $pod := index $.Values $role }}
{{- $given := dict "role" $role "pod" $pod }}
{{- include "verger.validateSizes" (merge (dict "memory" (ternary $.Values.run.driver_memory $pod.memory (eq $role "driver"))) $given) }}
{{- include "verger.validateVolumes" (dict "root" $ "role" $role "pod" $pod) }}
{{- include "verger.validateExpressions" $given }}
{{- include "verger.validateEnvironment" $given }}
{{- include "verger.validateTolerations" (dict "name" (printf "%s.tolerations" $role) "tolerations" $pod.tolerations) }}
{{- end }}
{{- include "verger.validateAccounts" . }}
{{- include "verger.validateTolerations" (dict "name" "spot.tolerations" "tolerations" .Values.spot.tolerations) }}
{{- end }}

{{- define "verger.validateAccounts" -}}
{{- $driver := include "verger.serviceAccount" (list . "driver") }}
{{- range $role := list "driver" "executor" }}
{{- $account := (index $.Values $role).serviceAccount }}
{{- $name := include "verger.serviceAccount" (list $ $role) }}
{{- if and $account.create (or (eq $name "default") (and (eq $role "executor") (eq $name $driver))) }}
{{- fail (printf "%s.serviceAccount.name: %s is a name that is taken; with create: false an account that exists is used" $role $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "verger.validateSizes" -}}
{{- $role := .role }}{{ $pod := .pod }}
{{- $request := $pod.coreRequest | default (toString $pod.cores) }}
{{- with $pod.coreLimit }}
{{- if lt (int (include "verger.quantity" .)) (int (include "verger.quantity" $request)) }}
{{- fail (printf "%s.coreLimit: %s is less than the request, %s" $role . $request) }}
{{- end }}
{{- end }}
{{- if and $pod.ephemeralStorageLimit $pod.ephemeralStorageRequest }}
{{- if lt (int64 (include "verger.quantity" $pod.ephemeralStorageLimit)) (int64 (include "verger.quantity" $pod.ephemeralStorageRequest)) }}
{{- fail (printf "%s.ephemeralStorageLimit: %s is less than the request, %s" $role $pod.ephemeralStorageLimit $pod.ephemeralStorageRequest) }}
{{- end }}
{{- end }}
{{- $heap := ternary "run.driver_memory" "executor.memory" (eq $role "driver") }}
{{- with .memory }}
{{- if lt (int (include "verger.mebibytes" .)) 450 }}
{{- fail (printf "%s: %s is less than 450m, without which Spark does not start" $heap .) }}
{{- end }}
{{- end }}
{{- with $pod.memoryOverhead }}
{{- if lt (int (include "verger.mebibytes" .)) 384 }}
{{- fail (printf "%s.memoryOverhead: %s is less than 384m, the least that Spark gives a JVM beside its heap" $role .) }}
{{- end }}
{{- end }}
{{- range $name, $size := dict $heap .memory (printf "%s.memoryOverhead" $role) $pod.memoryOverhead }}
{{- if and $size (gt (int (include "verger.mebibytes" $size)) 1048576) }}
{{- fail (printf "%s: %s is more than 1024g, which no node has; its unit is m or g" $name $size) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A quantity of Kubernetes as a whole number: thousandths of cores, or of bytes. */}}
{{- define "verger.quantity" -}}
{{- $units := dict "" 1000 "m" 1 "k" 1000000 "M" 1000000000 "G" 1000000000000 "T" 1000000000000000 "Ki" 1024000 "Mi" 1048576000 "Gi" 1073741824000 "Ti" 1099511627776000 }}
{{- $number := regexFind "^[0-9.]+" . }}
{{- int64 (mulf (float64 $number) (get $units (trimPrefix $number .))) }}
{{- end }}

{{- define "verger.validateExpressions" -}}
{{- $name := printf "%s.nodeExpressions" .role }}
{{- range .pod.nodeExpressions }}
{{- $values := .values | default list }}
{{- if and (has .operator (list "In" "NotIn")) (not $values) }}
{{- fail (printf "%s: %s: operator %s needs values" $name .key .operator) }}
{{- else if and (has .operator (list "Exists" "DoesNotExist")) $values }}
{{- fail (printf "%s: %s: operator %s takes no values" $name .key .operator) }}
{{- else if and (has .operator (list "Gt" "Lt")) (not (and (eq (len $values) 1) (regexMatch "^-?[0-9]+$" (first $values | default "")))) }}
{{- fail (printf "%s: %s: operator %s needs one whole number as its values" $name .key .operator) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "verger.validateTolerations" -}}
{{- $name := .name }}
{{- range .tolerations }}
{{- if and (eq (.operator | default "Equal") "Exists") .value }}
{{- fail (printf "%s: %s: operator Exists takes no value" $name (.key | default "any key")) }}
{{- end }}
{{- if and (not .key) (ne (.operator | default "Equal") "Exists") }}
{{- fail (printf "%s: without a key the operator must be Exists" $name) }}
{{- end }}
{{- if and (hasKey . "tolerationSeconds") (ne (.effect | default "") "NoExecute") }}
{{- fail (printf "%s: %s: tolerationSeconds is for the effect NoExecute" $name (.key | default "any key")) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Variables that the chart, Spark or a value sets already, and keys that everybody could read who may read pods. */}}
{{- define "verger.validateEnvironment" -}}
{{- $role := .role }}
{{- $taken := dict
  "^(_?SPARK_|PYSPARK_|HOME$|TMPDIR$)" "the image or Spark sets it"
  "^VERGER_" "settings are values under run"
  "^(AWS_ENDPOINT_URL|AWS_(DEFAULT_)?REGION$)" "it is run.endpoint_url or run.region"
  "^AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)$" "keys belong into credentials.existingSecret"
  "^AWS_CA_BUNDLE$" "it is caBundle.configMap"
  "(?i)^(https?|no)_proxy$" "it is proxy.url or proxy.noProxy"
}}
{{- $names := list }}
{{- range .pod.extraEnv }}
{{- $name := .name }}
{{- range $pattern, $why := $taken }}
{{- if regexMatch $pattern $name }}{{ fail (printf "%s.extraEnv: %s is refused: %s" $role $name $why) }}{{ end }}
{{- end }}
{{- if has $name $names }}
{{- fail (printf "%s.extraEnv: %s is given twice" $role $name) }}
{{- end }}
{{- $names = append $names $name }}
{{- if and .valueFrom (hasKey . "value") }}
{{- fail (printf "%s.extraEnv: %s: give value or valueFrom, not both" $role $name) }}
{{- end }}
{{- if and (hasKey . "value") (regexMatch "(?i)secret|password|token|access_?key" $name) }}
{{- fail (printf "%s.extraEnv: %s: a secret belongs into a Secret; name it in valueFrom.secretKeyRef" $role $name) }}
{{- end }}
{{- end }}
{{- range .pod.extraEnvFrom }}
{{- if not (or .configMapRef .secretRef) }}
{{- fail (printf "%s.extraEnvFrom: name a ConfigMap in configMapRef or a Secret in secretRef" $role) }}
{{- end }}
{{- end }}
{{- end }}
