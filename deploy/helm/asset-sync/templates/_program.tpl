{{/* What the pods of console, ingress and translate share. Each takes (list $ .Values.PROGRAM "PROGRAM"). */}}

{{- define "asset-sync.program.name" -}}
{{- $root := index . 0 }}{{ $program := index . 2 }}
{{- printf "%s-%s" (include "asset-sync.fullname" $root | trunc 53 | trimSuffix "-") $program }}
{{- end }}

{{- define "asset-sync.program.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "asset-sync.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 2 }}
{{- end }}

{{- define "asset-sync.program.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "asset-sync.program.name" . }}
namespace: {{ include "asset-sync.namespace" $root }}
labels:
  {{- include "asset-sync.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 2 }}
{{- end }}

{{- define "asset-sync.program.kafkaUserName" -}}
{{- default (printf "%s-kafka" (include "asset-sync.program.name" . | trunc 57 | trimSuffix "-")) (index . 1).kafkaUser }}
{{- end }}

{{/* The settings of a program: those of `settings` that it uses, and its own on top. */}}
{{- define "asset-sync.program.settings" -}}
{{- $settings := dict }}
{{- $own := dict "console" "CONSOLE" "ingress" "INGRESS" "translate" "TRANSLATE|OUTCOMES|EVENTS|RETRY|PIPELINE|DRAIN|DEAD_LETTERS|TRACES" }}
{{- $pattern := printf "^((KAFKA|LOG|HTTP|%s)__|DELETES_MAX_PER_HOUR$)" (get $own (index . 2)) }}
{{- range $name, $value := (index . 0).Values.settings }}
{{- if regexMatch $pattern $name }}
{{- $_ := set $settings $name $value }}
{{- end }}
{{- end }}
{{- toYaml (mergeOverwrite $settings (index . 1).settings) }}
{{- end }}

{{/* The data of a ConfigMap of settings; whole numbers are written without a fraction. */}}
{{- define "asset-sync.settingsData" -}}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}
ASSET_SYNC_{{ $name }}: {{ if kindIs "float64" $value }}{{ $value | int64 | float64 | eq $value | ternary ($value | int64 | toString) ($value | toString) | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "asset-sync.program.httpPort" -}}
{{- get (include "asset-sync.program.settings" . | fromYaml) "HTTP__PORT" | default 8080 }}
{{- end }}

{{- define "asset-sync.program.env" -}}
{{- include "asset-sync.mergedEnv" (list (include "asset-sync.program.ownEnv" . | fromYamlArray) (index . 1).extraEnv) }}
{{- end }}

{{- define "asset-sync.program.ownEnv" -}}
- name: ASSET_SYNC_SECRETS_DIR
  value: /run/secrets/asset-sync
- name: ASSET_SYNC_HTTP__HOST
  value: "::"
{{- $host := printf "%s__HOST" (index . 2 | upper) }}
{{- if and (ne (index . 2) "translate") (not (get (include "asset-sync.program.settings" . | fromYaml) $host)) }}
- name: ASSET_SYNC_{{ $host }}
  value: "::"
{{- end }}
{{- if ne (index . 2) "console" }}
- name: ASSET_SYNC_SOURCES_FILE
  value: /etc/asset-sync/{{ (index . 0).Values.sources.key }}
{{- end }}
{{- with (index . 1).tls.kafka }}
{{- if .caSecret }}
- name: ASSET_SYNC_KAFKA__SSL_CA_FILE
  value: /run/secrets/kafka-ca/{{ .ca }}
{{- end }}
{{- if .existingSecret }}
- name: ASSET_SYNC_KAFKA__SSL_CERT_FILE
  value: /run/secrets/kafka-tls/{{ .certificate }}
- name: ASSET_SYNC_KAFKA__SSL_KEY_FILE
  value: /run/secrets/kafka-tls/{{ .key }}
{{- end }}
{{- end }}
{{- if (index . 1).tls.existingSecret }}
- name: ASSET_SYNC_INGRESS__TLS_CERT_FILE
  value: /run/secrets/tls/tls.crt
- name: ASSET_SYNC_INGRESS__TLS_KEY_FILE
  value: /run/secrets/tls/tls.key
{{- end }}
{{- end }}

{{- define "asset-sync.program.volumeMounts" -}}
{{- $program := index . 1 -}}
{{- if ne (index . 2) "console" }}
- {name: sources, mountPath: /etc/asset-sync, readOnly: true}
{{- end }}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/asset-sync, readOnly: true}
{{- if $program.tls.kafka.caSecret }}
- {name: kafka-ca, mountPath: /run/secrets/kafka-ca, readOnly: true}
{{- end }}
{{- if $program.tls.kafka.existingSecret }}
- {name: kafka-tls, mountPath: /run/secrets/kafka-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "asset-sync.program.volumes" -}}
{{- $program := index . 1 -}}
{{- if ne (index . 2) "console" }}
- name: sources
  configMap:
    name: {{ include "asset-sync.sourcesConfigMap" (index . 0) }}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 16Mi}
- name: secrets
  {{- if $program.secret.existingSecret }}
  secret: {secretName: {{ $program.secret.existingSecret }}, defaultMode: 0440}
  {{- else }}
  emptyDir: {sizeLimit: 1Mi}
  {{- end }}
{{- with $program.tls.kafka.caSecret }}
- name: kafka-ca
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with $program.tls.kafka.existingSecret }}
- name: kafka-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{- define "asset-sync.program.replicas" -}}
{{- $program := index . 1 }}
{{- $isScaled := ($program.keda | default $program.autoscaling).enabled }}
{{- include "asset-sync.replicas" (dict "root" (index . 0) "kind" "Deployment" "name" (include "asset-sync.program.name" .) "count" $program.replicaCount "isScaled" $isScaled) }}
{{- end }}

{{/* Refuses values of a program that cannot work. */}}
{{- define "asset-sync.program.validate" -}}
{{- $root := index . 0 }}
{{- if not (or $root.Values.sources.file $root.Values.sources.existingConfigMap) }}
{{- fail (printf "%s.enabled needs the sources file: set sources.file, or sources.existingConfigMap" (index . 2)) }}
{{- end }}
{{- if and $root.Values.sources.file $root.Values.sources.existingConfigMap }}
{{- fail "sources.file and sources.existingConfigMap exclude one another: leave one out" }}
{{- end }}
{{- include "asset-sync.validatePort" (list $root (printf "HTTP__PORT of %s" (index . 2)) (include "asset-sync.program.httpPort" .)) }}
{{- end }}
