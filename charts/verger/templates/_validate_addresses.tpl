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
{{- if and .enabled (not $.Values.proxy.url) }}
{{- $addresses := include "verger.storeAddresses" $ | fromJsonArray }}
{{- range $except := .store.except }}
{{- $inside := false }}
{{- range $addresses }}{{ if include "verger.isInside" (list $except .) }}{{ $inside = true }}{{ end }}{{ end }}
{{- if not $inside }}
{{- fail (printf "networkPolicy.store.except: %s must lie inside one of the store's addresses and be smaller; they are %s" $except (join ", " $addresses | default "those of its pods alone")) }}
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

{{/* Whether a CIDR is a part of another, and not all of it. Takes (list part whole). */}}
{{- define "verger.isInside" -}}
{{- if and (include "verger.isBlock" (first .)) (include "verger.isBlock" (last .)) }}
{{- $part := include "verger.commonBits" (first .) }}{{ $whole := include "verger.commonBits" (last .) }}
{{- if and (hasPrefix $whole $part) (ne $whole $part) }}true{{ end }}
{{- end }}
{{- end }}

{{/* The bits that all addresses of a CIDR begin with, behind the version of IP. */}}
{{- define "verger.commonBits" -}}
{{- $address := first (splitList "/" .) }}{{ $length := atoi (last (splitList "/" .)) }}{{ $bits := "" }}
{{- if contains ":" . }}
{{- $halves := list }}
{{- range splitList "::" $address }}
{{- $digits := "" }}
{{- range without (splitList ":" .) "" }}{{ $digits = print $digits (trunc -4 (print "000" .)) }}{{ end }}
{{- $halves = append $halves $digits }}
{{- end }}
{{- $zeros := repeat (int (sub 32 (len (join "" $halves)))) "0" }}
{{- $of := dict "0" "0000" "1" "0001" "2" "0010" "3" "0011" "4" "0100" "5" "0101" "6" "0110" "7" "0111" "8" "1000" "9" "1001" "a" "1010" "b" "1011" "c" "1100" "d" "1101" "e" "1110" "f" "1111" }}
{{- range splitList "" (lower (join $zeros $halves)) }}{{ $bits = print $bits (get $of .) }}{{ end }}
{{- print "6:" (trunc $length $bits) }}
{{- else }}
{{- range splitList "." $address }}{{ $bits = print $bits (printf "%08b" (atoi .)) }}{{ end }}
{{- print "4:" (trunc $length $bits) }}
{{- end }}
{{- end }}
