#!/usr/bin/env bash
# Renders every overlay and producer into rendered/ (or the folder given), as `kubectl apply -k` would send them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
into=${1:-$here/rendered}
mkdir -p "$into"
for folder in "$here"/overlays/* "$here"/producers/*; do
  kubectl kustomize "$folder" > "$into/$(basename "$folder").yaml"
done
