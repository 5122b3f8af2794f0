{{/* Volumes and mounts that Kubernetes would refuse, or without which the image would not start. */}}
{{- define "verger.validateVolumes" -}}
{{- $role := .role }}{{ $localDir := include "verger.localDirSize" (dict "root" .root "role" $role) }}
{{- $kinds := list "configMap" "csi" "downwardAPI" "emptyDir" "ephemeral" "persistentVolumeClaim" "projected" "secret" }}
{{- $names := list }}{{ $paths := list }}
{{- range .pod.volumes }}
{{- if or (has .name $names) (and $localDir (eq .name "spark-local-dir-1")) (regexMatch "^(verger-|spark-conf-volume|pod-template-volume|hadoop-properties$|kube-api-access)" .name) }}
{{- fail (printf "%s.volumes: %s is a name that is taken" $role .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- $sources := without (keys .) "name" }}
{{- range $sources }}
{{- if not (has . $kinds) }}
{{- fail (printf "%s.volumes: %s is refused, as restricted pods may not have it; a volume is one of %s" $role . (join ", " $kinds)) }}
{{- end }}
{{- end }}
{{- if ne (len $sources) 1 }}
{{- fail (printf "%s.volumes: %s must be exactly one of %s" $role .name (join ", " $kinds)) }}
{{- end }}
{{- end }}
{{- range .pod.volumeMounts }}
{{- if not (has .name $names) }}
{{- fail (printf "%s.volumeMounts: %s is none of %s.volumes" $role .name $role) }}
{{- end }}
{{- $path := trimSuffix "/" (clean .mountPath) }}
{{- if ne (clean .mountPath) (trimSuffix "/" .mountPath | default "/") }}
{{- fail (printf "%s.volumeMounts: %s must be a path without ., .. and empty parts" $role .mountPath) }}
{{- end }}
{{- if regexMatch "^/|(^|/)\\.\\.(/|$)" (.subPath | default "") }}
{{- fail (printf "%s.volumeMounts: subPath %s must be relative and without .." $role .subPath) }}
{{- end }}
{{- $needed := include "verger.neededPath" (dict "path" $path "localDir" (ternary (include "verger.localDirPath" .) "" (ne $localDir ""))) }}
{{- if $needed }}
{{- fail (printf "%s.volumeMounts: %s is a path that is taken: the pod needs %s" $role .mountPath $needed) }}
{{- end }}
{{- if has $path $paths }}
{{- fail (printf "%s.volumeMounts: %s is a path that is taken" $role .mountPath) }}
{{- end }}
{{- $paths = append $paths $path }}
{{- end }}
{{- end }}

{{/* What a mount at this path would hide of the image, or of what the chart, Spark and Kubernetes mount: a place itself
     and the folders that it is in. Of some places nothing may be replaced either. Shared memory may be made larger. Takes
     path and localDir, the chart's folder for Spark's own files, where it mounts one. */}}
{{- define "verger.neededPath" -}}
{{- $whole := list
  "/bin" "/sbin" "/lib" "/lib64" "/usr/bin" "/usr/sbin" "/usr/lib" "/usr/lib64"
  "/opt/verger" "/opt/java" "/opt/entrypoint.sh" "/opt/decom.sh"
  "/opt/spark/conf" "/opt/spark/pod-template" "/etc/verger" "/etc/verger-ca"
  "/proc" "/sys" "/dev"
}}
{{- $folders := list "/var/run/secrets" "/run/secrets" "/tmp" "/opt/spark/work-dir" "/etc/ssl/certs" "/usr/share/ca-certificates" }}
{{- with .localDir }}{{ $folders = append $folders . }}{{ end }}
{{- /* Tokens of Kubernetes, of IRSA and of Pod Identity. */}}
{{- $tokens := list }}
{{- range $secrets := list "/var/run/secrets" "/run/secrets" }}
{{- range list "kubernetes.io" "eks.amazonaws.com" "pods.eks.amazonaws.com" }}{{ $tokens = append $tokens (printf "%s/%s" $secrets .) }}{{ end }}
{{- end }}
{{- $path := printf "%s/" .path }}{{ $found := list }}
{{- range concat $whole $folders }}
{{- if hasPrefix $path (printf "%s/" .) }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- range concat $whole $tokens }}
{{- if and (hasPrefix (printf "%s/" .) $path) (ne $path "/dev/shm/") }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- if $found }}{{ first $found }}{{ end }}
{{- end }}
