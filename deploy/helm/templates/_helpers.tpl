{{- define "snatwatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "snatwatch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "snatwatch.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The name of what belongs to no namespace: a release of the same name in another namespace has its own. */}}
{{- define "snatwatch.clusterName" -}}
{{ .Release.Namespace }}:{{ include "snatwatch.fullname" . }}
{{- end }}

{{/* How the kubelet asks: the values' dict has root and path. With a web config it is told how, or asks for the port alone. */}}
{{- define "snatwatch.probe" -}}
{{- if and .root.Values.webConfigSecret (not .root.Values.probe) -}}
tcpSocket: {port: http}
{{- else if .root.Values.probe -}}
httpGet:
  {{- merge (dict "path" .path "port" "http") .root.Values.probe | toYaml | nindent 2 }}
{{- else -}}
httpGet: {path: {{ .path }}, port: http}
{{- end }}
{{- end }}

{{- define "snatwatch.selector" -}}
app.kubernetes.io/name: {{ include "snatwatch.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "snatwatch.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "snatwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "snatwatch.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "snatwatch.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "snatwatch.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (.Chart.AppVersion | replace "+" "-") }}
{{- end }}
{{- end }}

{{/* The agent's config: the preset, the values' config over it, and the values' budget over its one budget. */}}
{{- define "snatwatch.config" -}}
{{- $models := .Files.Get "files/models.yaml" | fromYaml }}
{{- $config := .Files.Get (printf "presets/%s.yaml" .Values.preset) | fromYaml }}
{{- if .Values.see.ownSocketsOnly }}
{{- $_ := set $config "source" "sockets" }}
{{- else if .Values.see.otherNamespaces }}
{{- $_ := set $config "source" "auto" }}
{{- end }}
{{- $config = mergeOverwrite $config (deepCopy .Values.config) }}
{{- if .Values.budget }}
{{- if ne (len $config.budgets) 1 }}
{{- fail (printf "budget: want one budget to lay it over, config.budgets has %d" (len $config.budgets)) }}
{{- end }}
{{- $model := .Values.budget.model | default (first $config.budgets).model }}
{{- $preset := first $config.budgets }}
{{- range $key := keys $preset }}
{{- /* What the preset says of its own model says nothing of another. */}}
{{- if has $key (dig $model "refuses" list $models) }}
{{- $preset = omit $preset $key }}
{{- end }}
{{- end }}
{{- $budget := mergeOverwrite $preset (deepCopy .Values.budget) }}
{{- if or .Values.budget.nodes .Values.budget.nodes_file }}
{{- $budget = omit $budget "nodes_from" "nodes_selector" }}
{{- else if and .Values.budget.model (ne .Values.preset "generic") (not (has .Values.budget.model (list "azure-lb" "azure-lb-2018"))) (not .Values.budget.nodes_from) }}
{{- $budget = omit $budget "nodes_from" "nodes_selector" }}
{{- end }}
{{- $_ := set $config "budgets" (list $budget) }}
{{- end }}
{{- /* What the agent would refuse at its start, on every node. */}}
{{- $names := list }}
{{- range $i, $b := $config.budgets }}
{{- $at := ternary "budget" (printf "config.budgets[%d]" $i) (or (not (empty $.Values.budget)) (not $.Values.config.budgets)) }}
{{- range $key := list "name" "model" }}
{{- if not (index $b $key) }}
{{- fail (printf "%s.%s: missing: want it of every budget" $at $key) }}
{{- end }}
{{- end }}
{{- if has $b.name $names }}
{{- fail (printf "%s.name: %s: want each name once" $at $b.name) }}
{{- end }}
{{- $names = append $names $b.name }}
{{- $known := index $models $b.model }}
{{- range $key := keys $b | sortAlpha }}
{{- if and (index $b $key) (has $key $known.refuses) }}
{{- fail (printf "%s.%s: given: want no such key, or a model that takes it: %s does not (%s.model)" $at $key $b.model $at) }}
{{- end }}
{{- end }}
{{- $found := not $known.needs }}
{{- range $known.needs }}
{{- if index $b . }}{{ $found = true }}{{ end }}
{{- end }}
{{- if not $found }}
{{- fail (printf "%s.%s: missing: model %s wants %s" $at (first $known.needs) $b.model (join " or " $known.needs)) }}
{{- end }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* Whether a budget counts the API server's nodes: "true" or nothing. */}}
{{- define "snatwatch.countsNodes" -}}
{{- range (include "snatwatch.config" . | fromYaml).budgets }}
{{- if eq (default "" .nodes_from) "kubernetes" }}true{{ break }}{{ end }}
{{- end }}
{{- end }}

{{/* Whether the agent asks the API server anything. */}}
{{- define "snatwatch.asksServer" -}}
{{- if or .Values.see.owners (eq (include "snatwatch.countsNodes" .) "true") }}true{{ end }}
{{- end }}
