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
