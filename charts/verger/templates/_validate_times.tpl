{{/* Times that the operator would refuse after the release is made, or in which no attempt can do anything. */}}
{{- define "verger.validateDeadlines" -}}
{{- with .Values.totalDeadlineSeconds }}
{{- $retries := int64 $.Values.retries }}{{ $attempts := add1 $retries }}
{{- $least := add (mul 60 $attempts) (mul 10 $retries) }}
{{- if lt (int64 .) $least }}
{{- fail (printf "totalDeadlineSeconds: %d is too short for %d attempts of at least 60 s, which a pod alone may take to start, with 10 s between them; give at least %d, or fewer retries" (int64 .) $attempts $least) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The five fields of cron as the operator reads them; the schema knows their form. */}}
{{- define "verger.validateCron" -}}
{{- $cron := lower .Values.schedule.cron }}
{{- $months := list "" "jan" "feb" "mar" "apr" "may" "jun" "jul" "aug" "sep" "oct" "nov" "dec" }}
{{- $days := list "sun" "mon" "tue" "wed" "thu" "fri" "sat" }}
{{- $fields := list
  (dict "name" "minute" "least" 0 "most" 59 "words" list)
  (dict "name" "hour" "least" 0 "most" 23 "words" list)
  (dict "name" "day of the month" "least" 1 "most" 31 "words" list)
  (dict "name" "month" "least" 1 "most" 12 "words" $months)
  (dict "name" "day of the week" "least" 0 "most" 6 "words" $days "note" ", Sunday is 0")
}}
{{- if and (hasPrefix "@every" $cron) (not (regexMatch "[1-9]" $cron)) }}
{{- fail (printf "schedule.cron: %s is no time" .Values.schedule.cron) }}
{{- end }}
{{- if and $cron (not (hasPrefix "@" $cron)) }}
{{- range $position, $field := splitList " " $cron }}
{{- range splitList "," $field }}
{{- include "verger.validateCronRange" (merge (dict "range" .) (index $fields $position)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* One range of one field: *, 5, 1-5, mon-fri, each perhaps with a step behind a slash. */}}
{{- define "verger.validateCronRange" -}}
{{- $range := .range }}{{ $words := .words }}{{ $numbers := list }}
{{- $wrong := printf "schedule.cron: %s is no %s, which is %d to %d%s" $range .name .least .most (.note | default "") }}
{{- if regexMatch "^[^/]*/0+$" $range }}
{{- fail (printf "schedule.cron: %s: the step, behind the slash, must be at least 1" $range) }}
{{- end }}
{{- if not (regexMatch "^([*?]|[0-9]{1,2}(-[0-9]{1,2})?|[a-z]{3}(-[a-z]{3})?)(/0*[1-9][0-9]?)?$" $range) }}{{ fail $wrong }}{{ end }}
{{- range without (splitList "-" (first (splitList "/" $range))) "*" "?" }}
{{- $number := atoi . }}
{{- if regexMatch "[a-z]" . }}
{{- $number = -1 }}
{{- $word := . }}{{ range $index, $name := $words }}{{ if eq $name $word }}{{ $number = $index }}{{ end }}{{ end }}
{{- end }}
{{- $numbers = append $numbers $number }}
{{- end }}
{{- range $numbers }}
{{- if or (lt . $.least) (gt . $.most) }}{{ fail $wrong }}{{ end }}
{{- end }}
{{- if and $numbers (gt (first $numbers) (last $numbers)) }}
{{- fail (printf "schedule.cron: %s ends before it begins" $range) }}
{{- end }}
{{- end }}
