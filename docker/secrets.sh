#!/usr/bin/env bash
# Makes the passwords of a fleet, once, for docker/compose.yaml and for Kubernetes:  docker/secrets.sh [FOLDER]
#
# FOLDER=docker/secrets    is made, for its owner alone; one that is there is left as it is
# REDIS_HOST=redis         where workers find the Redis
# REDIS_UID=999            compose: the user of the Redis image, who must be able to read users.acl
#
#   users.acl     the users of the Redis (docs/security.md), the password as a hash
#   broker.env    HUGESYNC_BROKER_URL, with the password
#   flower.env    FLOWER_BASIC_AUTH: the user admin and a password
#   grafana.env   GF_SECURITY_ADMIN_PASSWORD, of the user admin
#   stores.env    credentials of the stores: as made, of the S3 server that the compose profile "try" starts; replace them by yours
set -euo pipefail
umask 077
folder=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
if [ -e "$folder" ]; then
  echo "$folder is there and stays as it is; to make new passwords, move it away and restart everything that has the old ones" >&2
  exit 1
fi

random() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
password=$(random 24)
# default is closed to everybody, and yet may do everything: a Redis or Valkey that starts again replays the transactions in its
# append-only file as this user, and what default may not do some versions drop, in silence (docs/security.md)
hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)

mkdir -p "$(dirname "$folder")"
made=$(mktemp -d "$folder.XXXXXX")
cat > "$made/users.acl" <<EOF
user default off resetpass ~* &* +@all
user probe on nopass resetkeys resetchannels -@all +ping
user hugesync on #$hash resetkeys ~hs:* resetchannels &hs:* &hs:q:/0.celery.pidbox &hs:q:/0.celeryev/* -@all +@read +@write +@connection +@transaction +@pubsub +eval +evalsha +script|load +script|exists +time +info -@dangerous +info
EOF
echo "HUGESYNC_BROKER_URL=redis://hugesync:$password@${REDIS_HOST:-redis}:6379/0" > "$made/broker.env"
echo "FLOWER_BASIC_AUTH=admin:$(random 12)" > "$made/flower.env"
echo "GF_SECURITY_ADMIN_PASSWORD=$(random 12)" > "$made/grafana.env"
cat > "$made/stores.env" <<EOF
AWS_ENDPOINT_URL_S3=http://s3:8333
AWS_REGION=us-east-1
AWS_ACCESS_KEY_ID=$(random 10)
AWS_SECRET_ACCESS_KEY=$(random 20)
EOF
# the folder lets nobody in but its owner; the Redis image's user gets the file itself mounted
[ "$(id -u)" != 0 ] || chown "${REDIS_UID:-999}" "$made/users.acl"
[ "$(id -u)" = 0 ] || chmod 0644 "$made/users.acl"
mv -T "$made" "$folder"
echo "made $folder"
