{{- define "asset-sync.ingress.port" -}}
{{- get (include "asset-sync.program.settings" (list . .Values.ingress "ingress") | fromYaml) "INGRESS__PORT" | default 8081 }}
{{- end }}

{{- define "asset-sync.sourcesConfigMap" -}}
{{- default (printf "%s-sources" (include "asset-sync.fullname" . | trunc 55 | trimSuffix "-")) .Values.sources.existingConfigMap }}
{{- end }}

{{/* The most memory that a replica of ingress may need, in bytes (docs/webhooks.md, Limits). */}}
{{- define "asset-sync.ingress.memoryBytes" -}}
{{- $settings := include "asset-sync.program.settings" (list . .Values.ingress "ingress") | fromYaml }}
{{- $record := include "asset-sync.bytes" (get $settings "KAFKA__MAX_RECORD_BYTES" | default "1MiB") | int64 }}
{{- $body := include "asset-sync.bytes" (get $settings "INGRESS__MAX_BODY_BYTES" | default $record) | int64 }}
{{- $inFlight := get $settings "INGRESS__MAX_IN_FLIGHT" | default 200 | int64 }}
{{- add (mul 160 1048576) (mul 3 $inFlight $body) }}
{{- end }}

{{/* Refuses values that cannot work, and says what to do. */}}
{{- define "asset-sync.ingress.validate" -}}
{{- include "asset-sync.program.validate" (list . .Values.ingress "ingress") }}
{{- if eq (include "asset-sync.ingress.port" .) (include "asset-sync.program.httpPort" (list . .Values.ingress "ingress")) }}
{{- fail (printf "INGRESS__PORT and HTTP__PORT are both %s: webhooks need a port of their own" (include "asset-sync.ingress.port" .)) }}
{{- end }}
{{- include "asset-sync.validatePort" (list . "INGRESS__PORT" (include "asset-sync.ingress.port" .)) }}
{{- if and .Values.strimzi.user.enabled (not .Values.ingress.topics) }}
{{- fail "ingress.topics is required with strimzi.user.enabled: the raw topics that the webhooks are written to" }}
{{- end }}
{{- if and .Values.ingress.autoscaling.enabled (gt (int .Values.ingress.autoscaling.minReplicas) (int .Values.ingress.autoscaling.maxReplicas)) }}
{{- fail (printf "ingress.autoscaling.minReplicas is %d: at most maxReplicas (%d)" (int .Values.ingress.autoscaling.minReplicas) (int .Values.ingress.autoscaling.maxReplicas)) }}
{{- end }}
{{- if and .Values.ingress.httpRoute.enabled (not .Values.ingress.httpRoute.parentRefs) }}
{{- fail "ingress.httpRoute.parentRefs is required: the Gateway, such as [{name: gateway, namespace: infra}]" }}
{{- end }}
{{- if and .Values.ingress.ingress.enabled (not .Values.ingress.ingress.hosts) }}
{{- fail "ingress.ingress.hosts is required: the host names that the DAMs send to" }}
{{- end }}
{{- with (.Values.ingress.resources.limits | default dict).memory }}
{{- $limit := include "asset-sync.bytes" . | int64 }}
{{- $needed := include "asset-sync.ingress.memoryBytes" $ | int64 }}
{{- if lt $limit $needed }}
{{- fail (printf "ingress.resources.limits.memory is %v: these settings may need %d MiB (docs/webhooks.md, Limits). Raise it, or lower INGRESS__MAX_IN_FLIGHT" . (divf $needed 1048576 | ceil | int64)) }}
{{- end }}
{{- end }}
{{- end }}
