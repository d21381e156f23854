{{- /* The operator's image: by its digest, where there is one. */ -}}
{{- define "tracking-operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- /* Whether Secrets are watched: "true", or nothing. */ -}}
{{- define "tracking-operator.watchesSecrets" -}}
{{- if dig "watchSecrets" true .Values.settings }}true{{ end -}}
{{- end -}}

{{- /* The settings as environment variables, sorted by name. Numbers are written as JSON has them: Go would write 1e+06. */ -}}
{{- define "tracking-operator.settings" -}}
{{- $settings := dict -}}
{{- range $name, $value := .Values.settings -}}
{{- $text := $value -}}
{{- if kindIs "slice" $value -}}
{{- $text = join "," $value -}}
{{- else if not (kindIs "string" $value) -}}
{{- $text = toJson $value -}}
{{- end -}}
{{- $_ := set $settings ($name | snakecase | upper) $text -}}
{{- end -}}
{{- with .Values.namespaces.names -}}
{{- $_ := set $settings "WATCH_NAMESPACES" (join "," .) -}}
{{- end -}}
{{- if not .Values.metrics.enabled -}}
{{- $_ := set $settings "METRICS_PORT" "0" -}}
{{- end -}}
{{- range $name, $text := $settings }}
- name: TRACKING_OPERATOR_{{ $name }}
  value: {{ $text | quote }}
{{- end -}}
{{- end -}}

{{- /* What the API server asks of a namespace before the operator may write in it, in CEL. */ -}}
{{- define "tracking-operator.isServed" -}}
{{- $conditions := list -}}
{{- range $label, $value := .Values.namespaces.matchLabels -}}
{{- $conditions = append $conditions (printf "namespaceObject.metadata.?labels[?'%s'].orValue('') == '%s'" $label $value) -}}
{{- end -}}
{{- join " && " $conditions | default "true" -}}
{{- end -}}
