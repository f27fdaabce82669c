{{- define "asset-sync.console.settings" -}}
{{- include "asset-sync.program.settings" (list . .Values.console "console") }}
{{- end }}

{{- define "asset-sync.console.port" -}}
{{- get (include "asset-sync.console.settings" . | fromYaml) "CONSOLE__PORT" | default 8082 }}
{{- end }}

{{- define "asset-sync.console.maxBytes" -}}
{{- include "asset-sync.bytes" (get (include "asset-sync.console.settings" . | fromYaml) "CONSOLE__MAX_BYTES" | default "2GiB") }}
{{- end }}

{{/* The room that the index may need: its limit, and a tenth for what SQLite keeps beside it. */}}
{{- define "asset-sync.console.roomBytes" -}}
{{- mulf (include "asset-sync.console.maxBytes" . | float64) 1.1 | int64 }}
{{- end }}

{{/* Not empty if the console finds the replicas of the release by their headless Service. */}}
{{- define "asset-sync.console.asksReplicas" -}}
{{- if and .Values.console.enabled (eq (get .Values.settings "HTTP__STATUS_PAGE" | toString) "true") (not (get (include "asset-sync.console.settings" . | fromYaml) "CONSOLE__REPLICAS")) }}yes{{ end }}
{{- end }}

{{- define "asset-sync.console.env" -}}
{{- $own := include "asset-sync.program.ownEnv" (list . .Values.console "console") | fromYamlArray }}
{{- $own = append $own (dict "name" "ASSET_SYNC_CONSOLE__DIR" "value" "/var/lib/asset-sync") }}
{{- if include "asset-sync.console.asksReplicas" . }}
{{- $replicas := printf "%s.%s.svc:%s" (include "asset-sync.fullname" .) (include "asset-sync.namespace" .) (include "asset-sync.httpPort" .) }}
{{- $own = append $own (dict "name" "ASSET_SYNC_CONSOLE__REPLICAS" "value" $replicas) }}
{{- end }}
{{- include "asset-sync.mergedEnv" (list $own .Values.console.extraEnv) }}
{{- end }}

{{/* Refuses values that cannot work, and says what to do. */}}
{{- define "asset-sync.console.validate" -}}
{{- $program := list . .Values.console "console" }}
{{- include "asset-sync.validatePort" (list . "HTTP__PORT of console" (include "asset-sync.program.httpPort" $program)) }}
{{- if eq (include "asset-sync.console.port" .) (include "asset-sync.program.httpPort" $program) }}
{{- fail (printf "CONSOLE__PORT and HTTP__PORT are both %s: the pages need a port of their own" (include "asset-sync.console.port" .)) }}
{{- end }}
{{- include "asset-sync.validatePort" (list . "CONSOLE__PORT" (include "asset-sync.console.port" .)) }}
{{- $needed := include "asset-sync.console.roomBytes" . | int64 }}
{{- $persistence := .Values.console.persistence }}
{{- if and $persistence.enabled (not $persistence.existingClaim) (lt (include "asset-sync.bytes" $persistence.size | int64) $needed) }}
{{- fail (printf "console.persistence.size is %s: CONSOLE__MAX_BYTES needs %d MiB with what SQLite keeps beside it. Raise it, or lower CONSOLE__MAX_BYTES" $persistence.size (divf $needed 1048576 | ceil | int64)) }}
{{- end }}
{{- end }}
