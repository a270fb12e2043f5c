#!/bin/sh
# Run Mosquitto with the files of this folder, on this machine's loopback only, for trials.
# One folder holds all its files; Ctrl-C ends it.
set -eu

case ${1:-} in
-*)
    echo "usage: try.sh [SITE] [FOLDER]
runs a broker for site SITE (small) with its files in FOLDER (.trial). Users gigatwin-SITE,
plant-SITE and gridco may come to mqtt://127.0.0.1:1883 with the password trial, and to
mqtts://localhost:8883 with their certificates of FOLDER/certs." >&2
    exit 2
    ;;
esac
site=${1:-small}
here=$(cd "$(dirname "$0")" && pwd -P)
mkdir -p "${2:-.trial}/store"
folder=$(cd "${2:-.trial}" && pwd -P)
PATH=$PATH:/usr/sbin
command -v mosquitto >/dev/null ||
    { echo "mosquitto is missing; on Debian: apt-get install mosquitto" >&2 && exit 1; }

"$here/../make-certificates.sh" "$folder/certs" "gigatwin-$site" "plant-$site" gridco
umask 077
cat "$here/acl" "$here/acl-trial" | sed "s/small/$site/g" >"$folder/acl"
: >"$folder/passwords"
for user in "gigatwin-$site" "plant-$site" gridco; do
    mosquitto_passwd -b "$folder/passwords" "$user" trial
done
sed "s|/etc/mosquitto|$folder|; s|/var/lib/mosquitto|$folder/store|
    s|^listener 8883$|listener 8883 127.0.0.1|" "$here/mosquitto.conf" >"$folder/mosquitto.conf"
echo "user $(id -un)" >>"$folder/mosquitto.conf" # as root, Mosquitto would change to a user that cannot read these files
echo "broker: mqtt://gigatwin-$site:trial@127.0.0.1:1883 and mqtts://localhost:8883; Ctrl-C ends it"
exec mosquitto -c "$folder/mosquitto.conf"
