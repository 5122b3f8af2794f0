{{/* Addresses that Kubernetes would refuse, after helm has made half of a release. */}}
{{- define "verger.validateAddresses" -}}
{{- if and .Values.proxy.url (not .Values.proxy.addresses) .Values.networkPolicy.enabled }}
{{- fail (printf "proxy.addresses: give the CIDRs of %s, which pods may reach; or networkPolicy.enabled: false" .Values.proxy.url) }}
{{- end }}
{{- range .Values.proxy.addresses }}
{{- if not (include "verger.isBlock" .) }}
{{- fail (printf "proxy.addresses: %s is no CIDR, such as 10.0.0.0/16 or fd00::/64" .) }}
{{- end }}
{{- end }}
{{- with .Values.networkPolicy }}
{{- range $name, $blocks := dict "apiServer.addresses" .apiServer.addresses "store.addresses" .store.addresses "store.except" .store.except "dns.addresses" .dns.addresses }}
{{- range $blocks }}
{{- if not (include "verger.isBlock" .) }}
{{- fail (printf "networkPolicy.%s: %s is no CIDR, such as 10.0.0.0/16 or fd00::/64" $name .) }}
{{- end }}
{{- if and (eq $name "store.except") (hasSuffix "/0" .) }}
{{- fail (printf "networkPolicy.store.except: %s is every address" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .apiServer.clusterIPs }}
{{- if not (include "verger.isBlock" (include "verger.block" .)) }}
{{- fail (printf "networkPolicy.apiServer.clusterIPs: %s is no address, such as 10.100.0.1" .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "verger.isBlock" -}}
{{- $octet := "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])" }}
{{- if contains ":" . }}
{{- $address := first (splitList "/" .) }}
{{- $groups := without (splitList ":" $address) "" }}
{{- $shortened := eq (len (splitList "::" $address)) 2 }}
{{- $shape := regexMatch "^(([0-9a-fA-F]{1,4}:)*[0-9a-fA-F]{1,4})?(::(([0-9a-fA-F]{1,4}:)*[0-9a-fA-F]{1,4})?)?/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$" . }}
{{- if and $shape (ternary (lt (len $groups) 8) (eq (len $groups) 8) $shortened) }}true{{ end }}
{{- else if regexMatch (printf "^%s(\\.%s){3}/(3[0-2]|[12]?[0-9])$" $octet $octet) . }}true
{{- end }}
{{- end }}
