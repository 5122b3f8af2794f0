{{/* Times that the operator would refuse after the release is made, or in which no run can end. */}}
{{- define "verger.validateDeadlines" -}}
{{- $total := .Values.totalDeadlineSeconds }}{{ $deadline := .Values.deadlineSeconds }}
{{- if $total }}
{{- $share := int64 (include "verger.share" .) }}
{{- if lt $share 60 }}
{{- fail (printf "totalDeadlineSeconds: %d leaves %d s for each of %d attempts, and a pod alone may take 60 to start; give more, or fewer retries" (int64 $total) $share (add1 (int64 .Values.retries))) }}
{{- end }}
{{- /* 86400 is the default, which nobody gave. */}}
{{- if and $deadline (ne (int64 $deadline) 86400) (lt (int64 $total) (int64 $deadline)) }}
{{- fail (printf "totalDeadlineSeconds: %d is less than the %d of one attempt (deadlineSeconds)" (int64 $total) (int64 $deadline)) }}
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
  (dict "name" "day of the week" "least" 0 "most" 6 "words" $days)
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
{{- $wrong := printf "schedule.cron: %s is no %s, which is %d to %d" $range .name .least .most }}
{{- if not (regexMatch "^([*?]|[0-9]{1,2}(-[0-9]{1,2})?|[a-z]{3}(-[a-z]{3})?)(/[1-9][0-9]?)?$" $range) }}{{ fail $wrong }}{{ end }}
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
