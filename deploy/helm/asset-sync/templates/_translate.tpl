{{/* How many sources a replica translates, as far as the values tell. */}}
{{- define "asset-sync.translate.sources" -}}
{{- $settings := include "asset-sync.program.settings" (list . .Values.translate "translate") | fromYaml }}
{{- $file := .Values.sources.file | default "" | fromYaml }}
{{- $chosen := get $settings "TRANSLATE__SOURCES" | default "" | toString | splitList "," | compact }}
{{- max 1 (len (coalesce $chosen (get $file "sources") .Values.translate.sources | default dict)) }}
{{- end }}

{{/* The most memory that a replica may need, in bytes: the sum in docs/operations.md, Memory. */}}
{{- define "asset-sync.translate.memoryBytes" -}}
{{- $settings := include "asset-sync.program.settings" (list . .Values.translate "translate") | fromYaml }}
{{- $pending := include "asset-sync.bytes" (get $settings "PIPELINE__MAX_PENDING_BYTES" | default "128MiB") | int64 }}
{{- $changes := get $settings "PIPELINE__MAX_PENDING_CHANGES" | default 10000 | int64 }}
{{- $record := include "asset-sync.bytes" (get $settings "KAFKA__MAX_RECORD_BYTES" | default "1MiB") | int64 }}
{{- $batch := include "asset-sync.bytes" .Values.largestBatch | int64 }}
{{- $answers := 0 }}
{{- range get (.Values.sources.file | default "" | fromYaml) "hosts" | default dict }}
{{- $bytes := include "asset-sync.bytes" (get . "max_bytes" | default "1MiB") | int64 }}
{{- $answers = add $answers (mul (get . "max_concurrency" | default 4 | int64) $bytes) }}
{{- end }}
{{- $mib := 1048576 }}
{{- $shared := add (mul (add 96 32) $mib) (mul 2 $pending) (mul 8192 $changes) (mul 32 $record) (mul 3 $answers) }}
{{- $source := add (mul (add 20 16 48) $mib) (mul 2 (add 524288 $record)) (mul 3 (max (mul 8 $mib) $record)) (mul 2 (max (mul 4 $mib) $batch)) $record }}
{{- add $shared (mul (include "asset-sync.translate.sources" . | int64) $source) }}
{{- end }}

{{/* Refuses values that cannot work, and says what to do. */}}
{{- define "asset-sync.translate.validate" -}}
{{- include "asset-sync.program.validate" (list . .Values.translate "translate") }}
{{- with .Values.translate }}
{{- if and (or $.Values.strimzi.user.enabled .keda.enabled) (not .sources) }}
{{- fail "translate.sources is required with strimzi.user.enabled or translate.keda.enabled: the raw topics of each source, such as {cloudinary: [dam.cloudinary]}" }}
{{- end }}
{{- if and .keda.enabled (gt (int .keda.minReplicaCount) (int .keda.maxReplicaCount)) }}
{{- fail (printf "translate.keda.minReplicaCount is %d: at most maxReplicaCount (%d)" (int .keda.minReplicaCount) (int .keda.maxReplicaCount)) }}
{{- end }}
{{- with (.resources.limits | default dict).memory }}
{{- $limit := include "asset-sync.bytes" . | int64 }}
{{- $sources := include "asset-sync.translate.sources" $ | int }}
{{- $needed := divf (include "asset-sync.translate.memoryBytes" $) 1048576 | ceil | int64 }}
{{- if lt $limit (mul $needed 1048576) }}
{{- fail (printf "translate.resources.limits.memory is %v: these settings may need %d MiB with %d %s (docs/operations.md, Memory). Raise it to %dMi, or lower PIPELINE__MAX_PENDING_BYTES" . $needed $sources (eq $sources 1 | ternary "source" "sources") $needed) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The topic that translate writes changes to. */}}
{{- define "asset-sync.translate.topic" -}}
{{- $settings := include "asset-sync.program.settings" (list . .Values.translate "translate") | fromYaml }}
{{- get $settings "TRANSLATE__TOPIC" | default (splitList "," (include "asset-sync.eventsTopics" .) | first | trim) }}
{{- end }}

{{- define "asset-sync.translate.groupPrefix" -}}
{{- printf "%s.translate." (include "asset-sync.groupId" .) }}
{{- end }}
