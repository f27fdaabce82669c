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

{{/* A ServiceMonitor of one program. Takes (list $ NAME SELECTOR-LABELS), which its Service has too. */}}
{{- define "asset-sync.serviceMonitor" -}}
{{- $root := index . 0 }}{{ $monitor := $root.Values.monitoring.serviceMonitor }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "asset-sync.monitor.metadata" (list $root (index . 1) $monitor) | nindent 2 }}
spec:
  {{- include "asset-sync.monitor.selector" (list $root (index . 2) $monitor) | trim | nindent 2 }}
  endpoints:
    - {{- include "asset-sync.monitor.endpoint" $monitor | nindent 6 }}
{{- end }}

{{/* The Service of a program's metrics, and its ServiceMonitor. Takes (list $ .Values.PROGRAM "PROGRAM"). */}}
{{- define "asset-sync.program.serviceMonitor" -}}
{{- $root := index . 0 }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "asset-sync.program.metricsName" . }}
  namespace: {{ include "asset-sync.namespace" $root }}
  labels:
    {{- include "asset-sync.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ index . 2 }}
spec:
  # Headless: Prometheus scrapes it; it balances no traffic.
  clusterIP: None
  selector:
    {{- include "asset-sync.program.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ include "asset-sync.program.httpPort" . }}
      targetPort: http
---
{{- include "asset-sync.serviceMonitor" (list $root (include "asset-sync.program.name" .) (include "asset-sync.program.selectorLabels" .)) }}
{{- end }}

{{- define "asset-sync.program.metricsName" -}}
{{- printf "%s-%s-metrics" (include "asset-sync.fullname" (index . 0) | trunc 45 | trimSuffix "-") (index . 2) }}
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

{{/* The last part of the job in the series of each program: a PodMonitor's name, or a Service's. */}}
{{- define "asset-sync.monitor.jobs" -}}
{{- $names := list (include "asset-sync.fullname" .) }}
{{- range $program := list "translate" "ingress" "console" }}
{{- $values := get $.Values $program }}
{{- if $values.enabled }}
{{- $byService := $.Values.monitoring.serviceMonitor.enabled }}
{{- $name := $byService | ternary "asset-sync.program.metricsName" "asset-sync.program.name" }}
{{- $names = append $names (include $name (list $ $values $program)) }}
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
{{- $prefix := printf "%s/" (default $namespace $monitoring.podMonitor.namespace) }}
{{- $own = contains "|" $jobs | ternary (printf "%s,job=~\"%s(%s)\"" $own $prefix $jobs) (printf "%s,job=\"%s%s\"" $own $prefix $jobs) }}
{{- else if $monitoring.serviceMonitor.enabled }}
{{- $own = contains "|" $jobs | ternary (printf "%s,job=~%q" $own $jobs) (printf "%s,job=%q" $own $jobs) }}
{{- end }}
{{- $series := "(asset_sync_[a-z_]+|process_start_time_seconds)" }}
{{- $query := regexReplaceAll (printf "%s\\{" $series) (index . 1) (printf "${1}{%s," $own) }}
{{- regexReplaceAll (printf "%s([^a-z_{]|$)" $series) $query (printf "${1}{%s}${2}" $own) }}
{{- end }}
