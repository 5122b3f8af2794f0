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

{{/* The store that was named, and nothing else. On AWS it has no fixed addresses: there it is any address on 443 but
     private ones. */}}
{{- define "verger.toStore" -}}
{{- $endpoint := .Values.run.endpoint_url | default "https://" -}}
{{- $default := ternary 443 80 (hasPrefix "https:" $endpoint) -}}
{{- $port := regexFind "[0-9]+$" (trimSuffix "/" (regexFind ":[0-9]+/?$" $endpoint)) | default $default -}}
{{- with .Values.networkPolicy.store -}}
{{- if not (or .namespace .addresses (include "verger.onAws" $)) }}
{{- fail (printf "networkPolicy.store: say where the store at run.endpoint_url (%s) is: namespace and podLabels of its pods, or its addresses; or networkPolicy.enabled: false" $endpoint) }}
{{- end -}}
{{- if and (contains ".vpce." $endpoint) (not .addresses) }}
{{- fail (printf "networkPolicy.store.addresses: give the subnets of the interface endpoint %s; any address does not include them, because they are private" $endpoint) }}
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
    {{- range include "verger.storeAddresses" $ | fromJsonArray }}
    - ipBlock:
        cidr: {{ . | quote }}
        {{- with include "verger.exceptOf" (list . $.Values.networkPolicy.store.except) }}
        except: {{ . }}
        {{- end }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ int (.port | default $port) }}}
{{- end }}
{{- end }}

{{/* CIDRs of the store, as JSON. */}}
{{- define "verger.storeAddresses" -}}
{{- with .Values.networkPolicy.store }}
{{- $addresses := .addresses }}
{{- if not (or .namespace .addresses) }}{{ $addresses = list "0.0.0.0/0" "::/0" }}{{ end }}
{{- toJson $addresses }}
{{- end }}
{{- end }}

{{/* What a block does not include, as JSON: a node's own services, of which one hands out the node's role, and what was
     excepted, by default private networks of any address. Kubernetes takes only what lies inside the block. Takes
     (list cidr except). */}}
{{- define "verger.exceptOf" -}}
{{- $block := first . }}{{ $except := last . }}{{ $inside := list }}
{{- if kindIs "invalid" $except }}
{{- $except = ternary (list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" "fc00::/7") list (hasSuffix "/0" $block) }}
{{- end }}
{{- range concat (list "169.254.0.0/16" "fe80::/10" "fd00:ec2::254/128") $except }}
{{- if include "verger.isInside" (list . $block) }}{{ $inside = append $inside . }}{{ end }}
{{- end }}
{{- with $inside }}{{ toJson (uniq .) }}{{ end }}
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
     executors for ever, and an open rule would be none: so it is refused. Beside them the Service's own address: some
     agents look at a packet before that is translated. */}}
{{- define "verger.toApiServer" -}}
{{- $given := .Values.networkPolicy.apiServer -}}
{{- $clusterIPs := $given.clusterIPs -}}
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
{{- if not $clusterIPs }}
{{- $clusterIPs = dig "spec" "clusterIPs" (list) (lookup "v1" "Service" "default" "kubernetes") }}
{{- end -}}
- to:
    {{- range $found.endpoints }}
    {{- range .addresses }}
    - ipBlock:
        cidr: {{ include "verger.block" . | quote }}
    {{- end }}
    {{- end }}
  ports:
    {{- range $found.ports }}
    - {protocol: TCP, port: {{ int .port }}}
    {{- end }}
{{- end }}
{{- with $clusterIPs }}
- to:
    {{- range . }}
    - ipBlock:
        cidr: {{ include "verger.block" . | quote }}
    {{- end }}
  ports:
    - {protocol: TCP, port: 443}
{{- end }}
{{- end }}

{{/* One address as a CIDR. */}}
{{- define "verger.block" -}}
{{ . }}/{{ ternary 128 32 (contains ":" .) }}
{{- end }}

{{/* A proxy, which goes to the store in the pods' place. */}}
{{- define "verger.toProxy" -}}
- to:
    {{- range .Values.proxy.addresses }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    - {protocol: TCP, port: {{ regexFind "[0-9]+$" (trimSuffix "/" .Values.proxy.url) }}}
{{- end }}
