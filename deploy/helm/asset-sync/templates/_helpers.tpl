{{- define "asset-sync.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels contain a StatefulSet's name and 11 further characters, and have at most 63 characters. */}}
{{- define "asset-sync.fullname" -}}
{{- $longest := ternary 52 63 (eq .Values.workload "StatefulSet") }}
{{- $name := include "asset-sync.name" . }}
{{- $full := printf "%s-%s" .Release.Name $name }}
{{- if .Values.fullnameOverride }}
{{- $full = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $full = .Release.Name }}
{{- end }}
{{- $full | trunc $longest | trimSuffix "-" }}
{{- end }}

{{- define "asset-sync.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "asset-sync.selectorLabels" -}}
app.kubernetes.io/name: {{ include "asset-sync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end }}

{{- define "asset-sync.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "asset-sync.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: asset-sync
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "asset-sync.metadata" -}}
name: {{ include "asset-sync.fullname" . }}
namespace: {{ include "asset-sync.namespace" . }}
labels:
  {{- include "asset-sync.labels" . | nindent 2 }}
{{- end }}

{{- define "asset-sync.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "asset-sync.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "asset-sync.image" -}}
{{- $image := .Values.image }}
{{- if $image.registry }}{{ $image.registry }}/{{ end }}{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}{{ if $image.digest }}@{{ $image.digest }}{{ end }}
{{- end }}

{{/* The value of a setting, or its default. */}}
{{- define "asset-sync.drainSeconds" -}}
{{- get .Values.settings "DRAIN__MAX_SECONDS" | default 75 }}
{{- end }}
{{- define "asset-sync.callsAtOnce" -}}
{{- get .Values.settings "PIM__MAX_CONCURRENCY" | default 4 }}
{{- end }}
{{- define "asset-sync.replicasMax" -}}
{{- if .Values.autoscaling.keda.enabled }}
{{- .Values.autoscaling.keda.maxReplicaCount }}
{{- else if .Values.autoscaling.hpa.enabled }}
{{- .Values.autoscaling.hpa.maxReplicas }}
{{- else }}
{{- .Values.replicaCount }}
{{- end }}
{{- end }}
{{- define "asset-sync.kafkaUserName" -}}
{{- default (printf "%s-kafka" (include "asset-sync.fullname" . | trunc 57 | trimSuffix "-")) .Values.strimzi.user.name }}
{{- end }}
{{- define "asset-sync.strimziNamespace" -}}
{{- default (include "asset-sync.namespace" .) .Values.strimzi.namespace }}
{{- end }}
{{- define "asset-sync.httpPort" -}}
{{- get .Values.settings "HTTP__PORT" | default 8080 }}
{{- end }}
{{- define "asset-sync.groupId" -}}
{{- get .Values.settings "KAFKA__GROUP_ID" | default "asset-sync" }}
{{- end }}
{{- define "asset-sync.eventsTopics" -}}
{{- get .Values.settings "KAFKA__EVENTS_TOPICS" | default "dam.asset-changes" }}
{{- end }}
{{- define "asset-sync.outcomesTopic" -}}
{{- get .Values.settings "KAFKA__OUTCOMES_TOPIC" | default "pim.asset-outcomes" }}
{{- end }}
{{- define "asset-sync.deadLettersTopic" -}}
{{- get .Values.settings "KAFKA__DEAD_LETTERS_TOPIC" | default "pim.asset-dead-letters" }}
{{- end }}

{{/* What the topic of dead letters has to take, as `asset-sync topics create` computes it: the largest event, and 16 KiB for the headers. */}}
{{- define "asset-sync.deadLetterBytes" -}}
{{- $events := include "asset-sync.bytes" (get (.Values.strimzi.topics.config | default dict) "max.message.bytes" | default 1048588) | int64 }}
{{- $record := include "asset-sync.bytes" (get .Values.settings "KAFKA__MAX_RECORD_BYTES" | default "1MiB") | int64 }}
{{- add 16384 (max $events $record) }}
{{- end }}

{{/* Not empty where media files may be downloaded. */}}
{{- define "asset-sync.hasMedia" -}}
{{- if or (get .Values.settings "MEDIA__HOSTS") (get .Values.settings "MEDIA__PRIVATE_HOSTS") }}yes{{ end }}
{{- end }}
{{- define "asset-sync.mediaDiskBytes" -}}
{{- include "asset-sync.bytes" (get .Values.settings "MEDIA__DISK_BYTES" | default "2GiB") }}
{{- end }}
{{/* Not empty where the chart mounts a volume for media files: the settings name no directory. */}}
{{- define "asset-sync.hasMediaVolume" -}}
{{- if and (include "asset-sync.hasMedia" .) (not (get .Values.settings "MEDIA__DIR")) }}yes{{ end }}
{{- end }}

{{/* The budget of a drain, and 15 s for the last transaction and for leaving the group. */}}
{{- define "asset-sync.gracePeriodSeconds" -}}
{{- $needed := add (include "asset-sync.drainSeconds" . | float64 | ceil | int) 15 }}
{{- $given := .Values.terminationGracePeriodSeconds }}
{{- if not (kindIs "invalid" $given) }}
{{- if lt (int $given) (int $needed) }}
{{- fail (printf "terminationGracePeriodSeconds is %d: a drain takes up to %d s (DRAIN__MAX_SECONDS + 15); leave it out, or lower DRAIN__MAX_SECONDS" (int $given) (int $needed)) }}
{{- end }}
{{- $given }}
{{- else }}
{{- $needed }}
{{- end }}
{{- end }}

{{- define "asset-sync.secretName" -}}
{{- if .Values.externalSecret.enabled }}
{{- include "asset-sync.fullname" . }}
{{- else }}
{{- .Values.secret.existingSecret }}
{{- end }}
{{- end }}

{{/* A size in bytes, from the notation of the service or of Kubernetes: 134217728, 128MiB, 128Mi, 1.5Gi, 512M. */}}
{{- define "asset-sync.bytes" -}}
{{- $text := printf "%v" . | trim }}
{{- $number := regexFind "^[0-9.]+([eE][+]?[0-9]+)?" $text | float64 }}
{{- $unit := regexFind "[A-Za-z]*$" $text | lower | trimSuffix "b" }}
{{- $units := dict "" 1 "k" 1000 "m" 1000000 "g" 1000000000 "t" 1000000000000 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 }}
{{- mulf $number (get $units $unit | default 1) | int64 }}
{{- end }}

{{/* The most memory that a replica may need, in bytes: the sum in docs/operations.md, Memory. */}}
{{- define "asset-sync.memoryBytes" -}}
{{- $settings := .Values.settings }}
{{- $pending := include "asset-sync.bytes" (get $settings "PIPELINE__MAX_PENDING_BYTES" | default "128MiB") | int64 }}
{{- $changes := get $settings "PIPELINE__MAX_PENDING_CHANGES" | default 10000 | int64 }}
{{- $record := include "asset-sync.bytes" (get $settings "KAFKA__MAX_RECORD_BYTES" | default "1MiB") | int64 }}
{{- $body := include "asset-sync.bytes" (get $settings "WINDOW__MAX_BYTES" | default "4MiB") | int64 }}
{{- $batch := include "asset-sync.bytes" .Values.largestBatch | int64 }}
{{- $calls := include "asset-sync.callsAtOnce" . | int64 }}
{{- $mib := 1048576 }}
{{- $fixed := mul (add 96 20 32 24 24) $mib }}
{{- $perSetting := add (mul 2 $pending) (mul 8192 $changes) (mul 32 (add 524288 $record)) (mul 3 (max (mul 8 $mib) $record)) (mul 2 (max (mul 4 $mib) $batch)) }}
{{- $media := 0 }}
{{- if include "asset-sync.hasMedia" . }}
{{- $transfers := add (get $settings "MEDIA__MAX_CONCURRENCY" | default 4 | int64) (max 1 (div $calls 2)) }}
{{- $media = add (mul $transfers $mib) (mul 1280 (hasKey $settings "MEDIA__REMEMBER" | ternary (get $settings "MEDIA__REMEMBER") 200000 | int64)) }}
{{- end }}
{{- add $fixed $perSetting (mul $calls (add (mul 16 $mib) (mul 3 $body))) $media }}
{{- end }}

{{/* Refuses values that cannot work, and says what to do. */}}
{{- define "asset-sync.validate" -}}
{{- $calls := include "asset-sync.callsAtOnce" . | int }}
{{- $keda := .Values.autoscaling.keda }}
{{- $hpa := .Values.autoscaling.hpa }}
{{- if not (get .Values.settings "KAFKA__BOOTSTRAP_SERVERS") }}
{{- fail "settings.KAFKA__BOOTSTRAP_SERVERS is required: the brokers, such as kafka-bootstrap:9092" }}
{{- end }}
{{- if not (get .Values.settings "PIM__BASE_URL") }}
{{- fail "settings.PIM__BASE_URL is required: the PIM, such as https://example.cloud.akeneo.com" }}
{{- end }}
{{- $largest := include "asset-sync.bytes" (get .Values.settings "MEDIA__MAX_BYTES" | default "200MiB") | int64 }}
{{- if lt (include "asset-sync.mediaDiskBytes" . | int64) $largest }}
{{- fail "settings.MEDIA__DISK_BYTES is below MEDIA__MAX_BYTES: the largest media file would never find room" }}
{{- end }}
{{- if and .Values.externalSecret.enabled .Values.secret.existingSecret }}
{{- fail "secret.existingSecret and externalSecret.enabled exclude one another: leave one out" }}
{{- end }}
{{- if not (include "asset-sync.secretName" .) }}
{{- fail "secret.existingSecret is required: a Secret with pim__client_id, pim__client_secret, pim__username and pim__password (or pim__app_token)" }}
{{- end }}
{{- if and $keda.enabled $hpa.enabled }}
{{- fail "autoscaling.keda and autoscaling.hpa exclude one another: leave one out" }}
{{- end }}
{{- if and (not $keda.enabled) (not $hpa.enabled) (gt (int .Values.replicaCount) $calls) }}
{{- fail (printf "replicaCount is %d: PIM__MAX_CONCURRENCY is %d, and more replicas would exceed the PIM's limit of concurrent calls" (int .Values.replicaCount) $calls) }}
{{- end }}
{{- if and $keda.enabled (gt (int $keda.maxReplicaCount) (min $calls (int $keda.partitions) | int)) }}
{{- fail (printf "autoscaling.keda.maxReplicaCount is %d: at most PIM__MAX_CONCURRENCY (%d) and partitions (%d)" (int $keda.maxReplicaCount) $calls (int $keda.partitions)) }}
{{- end }}
{{- if and $hpa.enabled (gt (int $hpa.maxReplicas) $calls) }}
{{- fail (printf "autoscaling.hpa.maxReplicas is %d: at most PIM__MAX_CONCURRENCY (%d)" (int $hpa.maxReplicas) $calls) }}
{{- end }}
{{- if and $keda.enabled (gt (int $keda.minReplicaCount) (int $keda.maxReplicaCount)) }}
{{- fail (printf "autoscaling.keda.minReplicaCount is %d: at most maxReplicaCount (%d)" (int $keda.minReplicaCount) (int $keda.maxReplicaCount)) }}
{{- end }}
{{- if and $hpa.enabled (gt (int $hpa.minReplicas) (int $hpa.maxReplicas)) }}
{{- fail (printf "autoscaling.hpa.minReplicas is %d: at most maxReplicas (%d)" (int $hpa.minReplicas) (int $hpa.maxReplicas)) }}
{{- end }}
{{- include "asset-sync.validatePim" . }}
{{- include "asset-sync.validatePort" (list . "settings.HTTP__PORT" (include "asset-sync.httpPort" .)) }}
{{- range list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if or (hasKey $.Values.podLabels .) (hasKey $.Values.commonLabels .) }}
{{- fail (printf "podLabels and commonLabels must not have %s: the chart selects its pods by it" .) }}
{{- end }}
{{- end }}
{{- $topics := list (include "asset-sync.outcomesTopic" .) (include "asset-sync.deadLettersTopic" .) }}
{{- range splitList "," (include "asset-sync.eventsTopics" .) }}
{{- $topics = append $topics (trim .) }}
{{- end }}
{{- if ne (len $topics) (len (uniq $topics)) }}
{{- fail (printf "settings.KAFKA__…_TOPIC: events, outcomes and dead letters need topics of their own, not %s" (join ", " $topics)) }}
{{- end }}
{{- with (.Values.resources.limits | default dict).memory }}
{{- $limit := include "asset-sync.bytes" . | int64 }}
{{- $needed := include "asset-sync.memoryBytes" $ | int64 }}
{{- if lt $limit $needed }}
{{- fail (printf "resources.limits.memory is %v: these settings may need %d MiB (docs/operations.md, Memory). Raise it to %dMi, or lower PIPELINE__MAX_PENDING_BYTES%s" . (divf $needed 1048576 | ceil | int64) (divf $needed 1048576 | ceil | int64) (include "asset-sync.hasMedia" $ | empty | ternary "" " or MEDIA__REMEMBER")) }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled }}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor exclude one another: leave one out" }}
{{- end }}
{{- if and (or .Values.strimzi.topics.enabled .Values.strimzi.user.enabled) (not .Values.strimzi.cluster) }}
{{- fail "strimzi.cluster is required: the name of the Kafka resource" }}
{{- end }}
{{- end }}

{{- define "asset-sync.env" -}}
{{- include "asset-sync.mergedEnv" (list (include "asset-sync.ownEnv" . | fromYamlArray) .Values.extraEnv) }}
{{- end }}

{{/* Takes (list $ NAME PORT). */}}
{{- define "asset-sync.validatePort" -}}
{{- $pod := (index . 0).Values.podSecurityContext }}
{{- if and (lt (index . 2 | int) 1024) $pod.runAsNonRoot (not $pod.sysctls) }}
{{- fail (printf "%s is %s: a container that does not run as root cannot listen below 1024" (index . 1) (index . 2)) }}
{{- end }}
{{- end }}

{{- define "asset-sync.validatePim" -}}
{{- with .Values.tls.pim }}
{{- if and .existingConfigMap .caSecret }}
{{- fail "tls.pim.existingConfigMap and tls.pim.caSecret exclude one another: leave one out" }}
{{- end }}
{{- if and (or .certificate .key) (not .existingSecret) }}
{{- fail "tls.pim.existingSecret is required with tls.pim.certificate and tls.pim.key: the Secret that has them" }}
{{- end }}
{{- end }}
{{- $url := get .Values.settings "PIM__BASE_URL" }}
{{- if not (regexMatch "^https?://[^/?#@\\s]+(/[^?#@\\s]*)?$" $url) }}
{{- fail (printf "settings.PIM__BASE_URL is %s: it must be a URL such as https://example.cloud.akeneo.com, without user, query or fragment" (regexReplaceAll "//[^/]*@" $url "//…@")) }}
{{- end }}
{{- if regexMatch "(?i)/api(/|$)" $url }}
{{- fail (printf "settings.PIM__BASE_URL is %s: leave out the path of the API: %s" $url (regexReplaceAll "(?i)/+api(/.*)?$" $url "")) }}
{{- end }}
{{- $isLoopback := regexMatch "^http://(localhost|127\\.[0-9.]+|\\[::1\\])([:/]|$)" $url }}
{{- $allows := eq (get .Values.settings "PIM__ALLOW_HTTP" | toString) "true" }}
{{- if and (hasPrefix "http://" $url) (not $isLoopback) (not $allows) }}
{{- fail (printf "settings.PIM__BASE_URL is %s: use https, or set settings.PIM__ALLOW_HTTP: true" $url) }}
{{- end }}
{{- end }}

{{- define "asset-sync.ownEnv" -}}
- name: ASSET_SYNC_SECRETS_DIR
  value: /run/secrets/asset-sync
- name: ASSET_SYNC_HTTP__HOST
  value: "::"
{{- if eq .Values.workload "StatefulSet" }}
- name: ASSET_SYNC_KAFKA__GROUP_INSTANCE_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- if include "asset-sync.hasMediaVolume" . }}
- name: ASSET_SYNC_MEDIA__DIR
  value: /var/lib/asset-sync/media
{{- end }}
{{- with .Values.tls.kafka }}
{{- if .caSecret }}
- name: ASSET_SYNC_KAFKA__SSL_CA_FILE
  value: /run/secrets/kafka-ca/{{ .ca }}
{{- else if .existingSecret }}
- name: ASSET_SYNC_KAFKA__SSL_CA_FILE
  value: /run/secrets/kafka-tls/{{ .ca }}
{{- end }}
{{- if .existingSecret }}
{{- if .certificate }}
- name: ASSET_SYNC_KAFKA__SSL_CERT_FILE
  value: /run/secrets/kafka-tls/{{ .certificate }}
- name: ASSET_SYNC_KAFKA__SSL_KEY_FILE
  value: /run/secrets/kafka-tls/{{ required "tls.kafka.key is required with tls.kafka.certificate" .key }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.tls.pim }}
{{- if .existingConfigMap }}
- name: ASSET_SYNC_PIM__CA_FILE
  value: /run/secrets/pim-tls/{{ .ca }}
{{- else if .caSecret }}
- name: ASSET_SYNC_PIM__CA_FILE
  value: /run/secrets/pim-ca/{{ .ca }}
{{- end }}
{{- if .existingSecret }}
- name: ASSET_SYNC_PIM__SSL_CERT_FILE
  value: /run/secrets/pim-client-tls/{{ required "tls.pim.certificate is required with tls.pim.existingSecret: the Secret's key with the client's certificate" .certificate }}
- name: ASSET_SYNC_PIM__SSL_KEY_FILE
  value: /run/secrets/pim-client-tls/{{ required "tls.pim.key is required with tls.pim.existingSecret: the Secret's key with the client's key" .key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "asset-sync.envFrom" -}}
- configMapRef:
    name: {{ include "asset-sync.fullname" . }}
{{- with .Values.extraEnvFrom }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "asset-sync.volumeMounts" -}}
- name: secrets
  mountPath: /run/secrets/asset-sync
  readOnly: true
{{- if include "asset-sync.hasMediaVolume" . }}
- name: media
  mountPath: /var/lib/asset-sync/media
{{- end }}
{{- if .Values.tls.kafka.existingSecret }}
- name: kafka-tls
  mountPath: /run/secrets/kafka-tls
  readOnly: true
{{- end }}
{{- if .Values.tls.kafka.caSecret }}
- name: kafka-ca
  mountPath: /run/secrets/kafka-ca
  readOnly: true
{{- end }}
{{- if .Values.tls.pim.existingConfigMap }}
- name: pim-tls
  mountPath: /run/secrets/pim-tls
  readOnly: true
{{- end }}
{{- if .Values.tls.pim.caSecret }}
- name: pim-ca
  mountPath: /run/secrets/pim-ca
  readOnly: true
{{- end }}
{{- if .Values.tls.pim.existingSecret }}
- name: pim-client-tls
  mountPath: /run/secrets/pim-client-tls
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "asset-sync.volumes" -}}
- name: secrets
  secret:
    secretName: {{ include "asset-sync.secretName" . }}
    defaultMode: 0440
    {{- with .Values.secret.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- if include "asset-sync.hasMediaVolume" . }}
- name: media
  emptyDir:
    {{- /* With room for the folder itself: the service keeps the files below MEDIA__DISK_BYTES. */}}
    sizeLimit: {{ add 16 (divf (include "asset-sync.mediaDiskBytes" . | int64) 1048576 | ceil | int64) }}Mi
{{- end }}
{{- with .Values.tls.kafka.existingSecret }}
- name: kafka-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.tls.kafka.caSecret }}
- name: kafka-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.tls.pim.existingConfigMap }}
- name: pim-tls
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.tls.pim.caSecret }}
- name: pim-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.tls.pim.existingSecret }}
- name: pim-client-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 16Mi
{{- with .Values.extraVolumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end }}
