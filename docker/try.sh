#!/usr/bin/env bash
# Runs a whole fleet in containers, sends a job through it and takes it away again; without any registry of images:
#   docker/try.sh            (root; Debian's podman, runc and debootstrap; the first time it takes minutes)
#
# Everything is made on one base, debootstrap's, and runs as docker/compose.yaml has it: read-only, no capabilities, passwords of
# docker/secrets.sh. Redis and Prometheus are Debian's packages. The network is the host's, because netavark may not be there.
#
# KEEP=1                 leave it running and say where; `docker/try.sh down` ends it
# WORKERS=2 FILES=500    how many
# PORT=17600             the first of the ports that are used
# IMAGE=                 an image of ours that is there, instead of building one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=hugesync-try
port=${PORT:-17600}
redis_port=$port flower_port=$((port + 1)) prometheus_port=$((port + 2)) metrics_port=$((port + 10))
base=localhost/python:3.11-slim-bookworm
image=${IMAGE:-localhost/hugesync}
work=${WORK:-/tmp/$name}

say() { echo "try: $*" >&2; }
down() {
  podman ps --all --quiet --filter "label=$name" | xargs --no-run-if-empty podman rm --force --time 15 > /dev/null
  rm -rf "$work"
}
[ "${1:-up}" != down ] || { down; exit; }

# --- images -----------------------------------------------------------------------------------------------------------

if [ -z "${IMAGE:-}" ]; then
  certificates=/etc/ssl/certs/ca-certificates.crt # where the certificate of this host's proxy stands, if there is one
  BASE=debootstrap TAG=$image docker/build.sh --volume "$certificates:$certificates:ro"
fi
debian() { # debian PACKAGE: an image of the base with a package in it
  local tag=localhost/$name-$1
  podman image exists "$tag" || podman build --quiet --network host --isolation chroot --tag "$tag" --file - . > /dev/null << EOF
FROM $base
RUN apt-get update && apt-get install --yes --no-install-recommends $1 && rm -rf /var/lib/apt/lists/*
EOF
  echo "$tag"
}
redis_image=$(debian redis-server)
prometheus_image=$(debian prometheus)

# --- the fleet --------------------------------------------------------------------------------------------------------

down
mkdir -p "$work"/{data/from,data/to,redis,prometheus,etc}
chmod 0755 "$work"
REDIS_HOST=127.0.0.1 REDIS_UID=10002 docker/secrets.sh "$work/secrets"
sed -i "s/:6379/:$redis_port/" "$work/secrets/broker.env"
chown 10002:10002 "$work/redis"
chown 10003:10003 "$work/prometheus"
chown -R 10001:10001 "$work/data"
[ "${KEEP:-}" = 1 ] || trap down EXIT

confined=(--runtime runc --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --label "$name"
  --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges)
start() { # start NAME [podman's options] IMAGE COMMAND...
  podman run --detach --name "$name-$1" "${confined[@]}" "${@:2}" > /dev/null
}
until_so() { # until_so WHAT COMMAND...: wait at most two minutes
  for _ in $(seq 240); do
    ! "${@:2}" > /dev/null 2>&1 || return 0
    sleep 0.5
  done
  say "not so after two minutes: $1"
  podman ps --all --filter "label=$name" >&2
  for container in $(podman ps --all --quiet --filter "label=$name"); do podman logs --tail 20 "$container" >&2; done
  exit 1
}

start redis --user 10002:10002 -v "$work/redis:/data" -v "$work/secrets/users.acl:/etc/users.acl:ro" "$redis_image" \
  redis-server --bind 127.0.0.1 --port "$redis_port" --aclfile /etc/users.acl --dir /data --appendonly yes \
  --appendfsync everysec --save '' --maxmemory-policy noeviction --maxmemory 256mb
until_so "Redis answers" podman exec "$name-redis" redis-cli -p "$redis_port" --user probe --pass '' --no-auth-warning -e ping

ours=(--env-file "$work/secrets/broker.env" -v "$work/data:/data" -e HUGESYNC_WORKER_ROOTS=data=/data -e HUGESYNC_WORKER_CONCURRENCY=2)
for n in $(seq "${WORKERS:-2}"); do
  start "worker-$n" "${ours[@]}" -e "HUGESYNC_METRICS_PORT=$((metrics_port + n))" "$image" hugesync-worker --task-events
done
start exporter --env-file "$work/secrets/broker.env" -e "HUGESYNC_METRICS_PORT=$metrics_port" "$image" hugesync-exporter
start flower --env-file "$work/secrets/broker.env" --env-file "$work/secrets/flower.env" "$image" \
  celery -A hugesync_tasks flower --address=127.0.0.1 "--port=$flower_port" \
  --tasks-columns=name,args,kwargs,state,received,runtime,worker

targets=$(seq -s , -f "'127.0.0.1:%.0f'" "$metrics_port" "$((metrics_port + ${WORKERS:-2}))")
cat > "$work/etc/prometheus.yml" << EOF
global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [/etc/prometheus/hugesync.rules.yml]
scrape_configs: [{job_name: hugesync, static_configs: [{targets: [$targets]}]}]
EOF
cp docker/prometheus/hugesync.rules.yml "$work/etc/"
start prometheus --user 10003:10003 -v "$work/etc:/etc/prometheus:ro" -v "$work/prometheus:/prometheus" "$prometheus_image" \
  prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus \
  "--web.listen-address=127.0.0.1:$prometheus_port"

# get URL: a password in LOGIN, never on a command line
get() { python3 -c 'import os, sys, urllib.request as u; login = os.environ.get("LOGIN"); print(u.urlopen(u.Request(sys.argv[1], headers={"Authorization": login} if login else {}), timeout=5).read().decode())' "$1"; }
login="Basic $(cut -d = -f 2- "$work/secrets/flower.env" | tr -d '\n' | base64 -w 0)"
asks() { get "http://127.0.0.1:$prometheus_port/api/v1/query?query=$1" | grep -q "\"value\":\[[0-9.]*,\"$2\""; }
for n in $(seq "${WORKERS:-2}"); do until_so "worker $n consumes" get "http://127.0.0.1:$((metrics_port + n))/consuming"; done
until_so "the exporter is ready" get "http://127.0.0.1:$metrics_port/readyz"
until_so "Flower is there" get "http://127.0.0.1:$flower_port/healthcheck"
until_so "Prometheus reaches all" asks "count(up==1)" "$((${WORKERS:-2} + 1))"
! get "http://127.0.0.1:$flower_port/workers" > /dev/null 2>&1 || { say "Flower let somebody in without the password"; exit 1; }

# --- a job ------------------------------------------------------------------------------------------------------------

for n in $(seq "${FILES:-500}"); do head -c "$((n * 37))" /dev/urandom > "$work/data/from/file $n"; done
head -c 100M /dev/urandom > "$work/data/from/large"
podman run --rm "${confined[@]}" "${ours[@]}" "$image" hugesync-submit --json /data/from /data/to
diff -r "$work/data/from" "$work/data/to"
says_one() { LOGIN=$login get "http://127.0.0.1:$flower_port/api/tasks?limit=5" | grep -q hugesync; }
until_so "Flower shows the tasks" says_one
until_so "Prometheus has counted the job's end" asks "max(hugesync_jobs_ended%7Bstate=%22done%22%7D)" 1
get "http://127.0.0.1:$metrics_port/work"

# --- the Redis starts again -------------------------------------------------------------------------------------------

knows() { podman exec "$name-exporter" hugesync jobs | grep -q ' done '; }
knows || { say "hugesync jobs does not show the job"; exit 1; }
podman exec "$name-exporter" hugesync scale 2 > /dev/null
podman restart --time 15 "$name-redis" > /dev/null
until_so "Redis answers again" podman exec "$name-redis" redis-cli -p "$redis_port" --user probe --pass '' --no-auth-warning -e ping
knows || { say "the Redis lost the job when it started again"; exit 1; }
! podman logs "$name-redis" 2>&1 | grep NOPERM || { say "the Redis refused what stands in its own file"; exit 1; }
for n in $(seq "${WORKERS:-2}"); do until_so "worker $n consumes again" get "http://127.0.0.1:$((metrics_port + n))/consuming"; done

# --- the end of a worker ----------------------------------------------------------------------------------------------

podman stop --time 65 "$name-worker-1" > /dev/null
code=$(podman inspect --format '{{.State.ExitCode}}' "$name-worker-1")
[ "$code" = 0 ] || { say "a worker that was told to end ended with $code"; exit 1; }

say "a job went through redis, ${WORKERS:-2} workers, exporter, Flower and Prometheus, and is identical"
if [ "${KEEP:-}" = 1 ]; then
  say "it runs on: Flower http://127.0.0.1:$flower_port ($(cut -d = -f 2- "$work/secrets/flower.env")), Prometheus http://127.0.0.1:$prometheus_port; docker/try.sh down ends it"
fi
