{{/* Rules of egress, each an item of the list. */}}

{{- define "verger.toDns" -}}
{{- with .Values.networkPolicy.dns -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .namespace | quote }}
      podSelector:
        matchLabels:
          {{- toYaml (.podLabels | default (dict "k8s-app" "kube-dns")) | nindent 10 }}
    {{- range .addresses }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    - {protocol: UDP, port: {{ int .port }}}
    - {protocol: TCP, port: {{ int .port }}}
{{- end }}
{{- end }}

{{/* On AWS any address on 443, since S3 and STS have no fixed ones, but a node's own services, of which one hands
     out the node's role. Elsewhere the store that was named, and nothing else. */}}
{{- define "verger.toStore" -}}
{{- $endpoint := .Values.run.endpoint_url | default "https://" -}}
{{- $default := ternary 443 80 (hasPrefix "https:" $endpoint) -}}
{{- $port := regexFind "[0-9]+$" (trimSuffix "/" (regexFind ":[0-9]+/?$" $endpoint)) | default $default -}}
{{- with .Values.networkPolicy.store -}}
{{- if not (or .namespace .addresses (include "verger.onAws" $)) }}
{{- fail (printf "networkPolicy.store: say where the store at run.endpoint_url (%s) is: namespace and podLabels of its pods, or its addresses; or networkPolicy.enabled: false" $endpoint) }}
{{- end -}}
- to:
    {{- if .namespace }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .namespace | quote }}
      podSelector:
        matchLabels:
          {{- toYaml .podLabels | nindent 10 }}
    {{- end }}
    {{- range .addresses }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
    {{- if not (or .namespace .addresses) }}
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [169.254.0.0/16]
    - ipBlock:
        cidr: "::/0"
        except: ["fe80::/10", "fd00:ec2::254/128"]
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ int (.port | default $port) }}}
{{- end }}
{{- end }}

{{- define "verger.toPodIdentity" -}}
- to:
    - ipBlock:
        cidr: 169.254.170.23/32
    - ipBlock:
        cidr: "fd00:ec2::23/128"
  ports:
    - {protocol: TCP, port: 80}
{{- end }}

{{/* The addresses that were given, else those that the cluster says of itself. Without either a driver would wait for
     executors for ever, and an open rule would be none: so it is refused. */}}
{{- define "verger.toApiServer" -}}
{{- $given := .Values.networkPolicy.apiServer -}}
{{- if $given.addresses -}}
- to:
    {{- range $given.addresses }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ int $given.port }}}
{{- else }}
{{- $found := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" }}
{{- if not $found.endpoints }}
{{- fail "networkPolicy.apiServer.addresses: give the API server's CIDRs where the chart is rendered without its cluster (helm template, --dry-run=client), as `kubectl get endpointslice kubernetes` says them; or networkPolicy.enabled: false" }}
{{- end -}}
- to:
    {{- range $found.endpoints }}
    {{- range .addresses }}
    - ipBlock:
        cidr: {{ printf "%s/%d" . (ternary 128 32 (contains ":" .)) | quote }}
    {{- end }}
    {{- end }}
  ports:
    {{- range $found.ports }}
    - {protocol: TCP, port: {{ int .port }}}
    {{- end }}
{{- end }}
{{- end }}
