{{- define "hookhub.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "hookhub.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "hookhub.labels" -}}
{{ include "hookhub.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "hookhub.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "hookhub.secretName" -}}
{{- .Values.existingSecret | default (include "hookhub.fullname" .) }}
{{- end }}

{{- define "hookhub.host" -}}
{{- (urlParse .Values.publicUrl).host | regexFind "^(\\[[^]]*\\]|[^:]*)" }}
{{- end }}

{{/* The settings that follow from other values, and those given, which replace them. */}}
{{- define "hookhub.settings" -}}
{{- $url := urlParse .Values.publicUrl }}
{{- $found := dict "HOOKHUB_PUBLIC_URL" .Values.publicUrl "HOOKHUB_SERVED_HOSTS" (include "hookhub.host" .) "HOOKHUB_TRUSTED_ORIGINS" (printf "%s://%s" $url.scheme $url.host) }}
{{- if eq $url.scheme "https" }}{{ $_ := set $found "HOOKHUB_BEHIND_TLS_PROXY" "1" }}{{ end }}
{{- if .Values.metrics.enabled }}
{{- $_ := merge $found (dict "HOOKHUB_METRICS_PORT" (toString .Values.metrics.port) "HOOKHUB_METRICS_HOST" "0.0.0.0" "HOOKHUB_METRICS_DIR" "/tmp/metrics") }}
{{- end }}
{{- range $name, $value := .Values.settings }}{{ $_ := set $found $name (toString $value) }}{{ end }}
{{- toYaml $found }}
{{- end }}

{{- define "hookhub.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "hookhub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What the pods of web servers, workers and migrations have in common: .root, .settings and .secret are the names. */}}
{{- define "hookhub.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext: {{ include "hookhub.podSecurity" .root | nindent 2 }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
{{- with .root.Values.extraVolumes }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{- define "hookhub.container" -}}
image: {{ include "hookhub.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{ include "hookhub.containerSecurity" .root | nindent 2 }}
envFrom:
  - configMapRef: {name: {{ .settings }}}
  - secretRef: {name: {{ .secret }}}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{- define "hookhub.annotations" -}}
{{/* A change of the settings replaces the pods. */ -}}
checksum/settings: {{ include "hookhub.settings" .root | sha256sum }}
checksum/secrets: {{ toJson .root.Values.secrets | sha256sum }}
{{- with .own }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "hookhub.placement" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "hookhub.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
{{- with .own.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .own.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .own.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
