{{/* What all pods of the chart have in common. */}}

{{/* How a pod is pulled, run and connected, and which nodes it may use. */}}
{{- define "asset-sync.pod" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
serviceAccountName: {{ include "asset-sync.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "asset-sync.securityContext" (list . .Values.podSecurityContext) | nindent 2 }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How the replicas of a component are spread. Takes (list $ SELECTOR-LABELS). */}}
{{- define "asset-sync.placement" -}}
{{- $root := index . 0 }}{{ $labels := index . 1 }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A security context; OpenShift chooses users and groups by itself. Takes (list $ CONTEXT). */}}
{{- define "asset-sync.securityContext" -}}
{{- $root := index . 0 }}{{ $context := index . 1 }}
{{- $adapts := $root.Values.global.compatibility.openshift.adaptSecurityContext }}
{{- $isOpenShift := $root.Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- if or (eq $adapts "force") (and (eq $adapts "auto") $isOpenShift) }}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* The number of replicas. Takes (dict "root" $ "kind" … "name" … "count" … "isScaled" …). */}}
{{- define "asset-sync.replicas" -}}
{{- if not .isScaled }}
replicas: {{ .count }}
{{- else }}
{{- /* If it were left out for what runs, the API would put 1; so what runs is kept. */}}
{{- with (lookup "apps/v1" .kind (include "asset-sync.namespace" .root) .name).spec }}
replicas: {{ .replicas }}
{{- end }}
{{- end }}
{{- end }}

{{/* Variables of the chart, and of `extraEnv`: yours replace the chart's, because Kubernetes refuses duplicates. Takes (list OWN EXTRA). */}}
{{- define "asset-sync.mergedEnv" -}}
{{- $replaced := list }}
{{- range index . 1 }}
{{- $replaced = append $replaced .name }}
{{- end }}
{{- $env := list }}
{{- range index . 0 }}
{{- if not (has .name $replaced) }}
{{- $env = append $env . }}
{{- end }}
{{- end }}
{{- toYaml (concat $env (index . 1)) }}
{{- end }}
