{{/* Volumes and mounts that Kubernetes would refuse, or without which the image would not start. */}}
{{- define "verger.validateVolumes" -}}
{{- $role := .role }}
{{- $kinds := list "configMap" "csi" "downwardAPI" "emptyDir" "ephemeral" "persistentVolumeClaim" "projected" "secret" }}
{{- $names := list }}{{ $paths := list }}
{{- range .pod.volumes }}
{{- if or (has .name $names) (regexMatch "^(verger-|spark-conf-volume|pod-template-volume|hadoop-properties$|kube-api-access)" .name) }}
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
{{- $needed := include "verger.neededPath" $path }}
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
     and the folders that it is in. Of some places nothing may be replaced either. Shared memory may be made larger. */}}
{{- define "verger.neededPath" -}}
{{- $whole := list
  "/bin" "/sbin" "/lib" "/lib64" "/usr/bin" "/usr/sbin" "/usr/lib" "/usr/lib64"
  "/opt/verger" "/opt/java" "/opt/entrypoint.sh" "/opt/decom.sh"
  "/opt/spark/conf" "/opt/spark/pod-template" "/etc/verger" "/etc/verger-ca" "/var/run/secrets" "/run/secrets"
  "/proc" "/sys" "/dev"
}}
{{- $folders := list "/tmp" "/opt/spark/work-dir" "/etc/ssl/certs" "/usr/share/ca-certificates" (include "verger.localDirPath" .) }}
{{- $path := printf "%s/" . }}{{ $found := list }}
{{- range concat $whole $folders }}
{{- if hasPrefix $path (printf "%s/" .) }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- range $whole }}
{{- if and (hasPrefix (printf "%s/" .) $path) (ne $path "/dev/shm/") }}{{ $found = append $found . }}{{ end }}
{{- end }}
{{- if $found }}{{ first $found }}{{ end }}
{{- end }}
