#!/usr/bin/env bash
# Builds the image with podman:  docker/build.sh [podman build options]
#
# BASE=python:3.11-slim-bookworm  the base image. Where it is not to be had (no registry), BASE=debootstrap makes one from
#                                 Debian packages first (root, debootstrap; once, about half a minute).
# TAG=localhost/hugesync          the name of the result
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

base=${BASE:-python:3.11-slim-bookworm}
if [ "$base" = debootstrap ]; then
  base=localhost/python:3.11-slim-bookworm
  if ! podman image exists "$base"; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates bookworm "$root"
    tar -C "$root" -c . | podman import - "$base"
  fi
fi

podman build --build-arg BASE="$base" --network host --isolation chroot \
  -t "${TAG:-localhost/hugesync}" -f docker/Dockerfile "$@" .
