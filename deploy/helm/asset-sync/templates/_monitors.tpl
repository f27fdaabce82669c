{{/* A PodMonitor of one program. Takes (list $ NAME SELECTOR-LABELS). */}}
{{- define "asset-sync.podMonitor" -}}
{{- $root := index . 0 }}{{ $monitor := $root.Values.monitoring.podMonitor }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "asset-sync.monitor.metadata" (list $root (index . 1) $monitor) | nindent 2 }}
spec:
  {{- include "asset-sync.monitor.selector" (list $root (index . 2) $monitor) | trim | nindent 2 }}
  podMetricsEndpoints:
    - {{- include "asset-sync.monitor.endpoint" $monitor | nindent 6 }}
{{- end }}

{{- define "asset-sync.monitor.metadata" -}}
{{- $root := index . 0 }}{{ $monitor := index . 2 -}}
name: {{ index . 1 }}
namespace: {{ default (include "asset-sync.namespace" $root) $monitor.namespace }}
labels:
  {{- include "asset-sync.labels" $root | nindent 2 }}
  {{- with $monitor.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "asset-sync.monitor.selector" -}}
{{- $namespace := include "asset-sync.namespace" (index . 0) -}}
{{- if ne (default $namespace (index . 2).namespace) $namespace }}
namespaceSelector:
  matchNames: [{{ $namespace }}]
{{- end }}
selector:
  matchLabels:
    {{- index . 1 | nindent 4 }}
{{- end }}

{{- define "asset-sync.monitor.endpoint" -}}
port: http
path: /metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The names of the programs that run: each is the last part of the job in its series. */}}
{{- define "asset-sync.monitor.jobs" -}}
{{- $names := list (include "asset-sync.fullname" .) }}
{{- range $program := list "translate" "ingress" }}
{{- $values := get $.Values $program }}
{{- if and $values.enabled $.Values.monitoring.podMonitor.enabled }}
{{- $names = append $names (include "asset-sync.program.name" (list $ $values $program)) }}
{{- end }}
{{- end }}
{{- join "|" $names }}
{{- end }}

{{/* A query, limited to the series of this release: its namespace, and the jobs of its monitors. Takes (list $ QUERY). */}}
{{- define "asset-sync.ofThisRelease" -}}
{{- $root := index . 0 }}
{{- $monitoring := $root.Values.monitoring }}
{{- $namespace := include "asset-sync.namespace" $root }}
{{- $jobs := include "asset-sync.monitor.jobs" $root }}
{{- $own := printf "namespace=%q" $namespace }}
{{- if $monitoring.podMonitor.enabled }}
{{- $prefix := default $namespace $monitoring.podMonitor.namespace }}
{{- $own = contains "|" $jobs | ternary (printf "%s,job=~\"%s/(%s)\"" $own $prefix $jobs) (printf "%s,job=\"%s/%s\"" $own $prefix $jobs) }}
{{- else if $monitoring.serviceMonitor.enabled }}
{{- $own = printf "%s,job=%q" $own $jobs }}
{{- end }}
{{- $series := "(asset_sync_[a-z_]+|process_start_time_seconds)" }}
{{- $query := regexReplaceAll (printf "%s\\{" $series) (index . 1) (printf "${1}{%s," $own) }}
{{- regexReplaceAll (printf "%s([^a-z_{]|$)" $series) $query (printf "${1}{%s}${2}" $own) }}
{{- end }}
