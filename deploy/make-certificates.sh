#!/bin/sh
# Make an authority and certificates that it signs, for trials; a facility has its own authority.
# Existing files are not overwritten, so further names can be added later.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: make-certificates.sh FOLDER [NAME ...]
makes ca.crt and ca.key, server.crt and server.key for the broker, and NAME.crt and NAME.key for
each client; the broker knows a client by its name. HOSTS=broker.plant,10.0.0.5 are further names
and addresses of the broker, beside this machine's." >&2
    exit 2
fi
folder=$1
shift
umask 077 # only the owner can read the keys
mkdir -p "$folder"
cd "$folder"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

# Sign a certificate for NAME ($1) with further extensions ($2), one a line.
sign() {
    [ ! -e "$1.crt" ] || return 0
    new_key "$1"
    printf 'basicConstraints = CA:FALSE\nkeyUsage = critical, digitalSignature
subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n%s\n' "$2" >"$1.extensions"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.request"
    openssl x509 -req -in "$1.request" -CA ca.crt -CAkey ca.key -days 397 \
        -extfile "$1.extensions" -out "$1.draft" 2>"$1.log" || { cat "$1.log" >&2 && exit 1; }
    mv "$1.draft" "$1.crt"
    rm "$1.extensions" "$1.request" "$1.log"
}

if [ ! -e ca.crt ]; then
    new_key ca
    openssl req -x509 -new -key ca.key -subj '/CN=gigatwin trial' -days 3650 -out ca.crt \
        -addext 'keyUsage = critical, keyCertSign, cRLSign'
fi

hosts='DNS:localhost, IP:127.0.0.1, IP:::1'
for host in $(hostname) $(printf '%s' "${HOSTS:-}" | tr ',' ' '); do
    case $host in
    *:*) hosts="$hosts, IP:$host" ;;
    *[!0-9.]*) hosts="$hosts, DNS:$host" ;;
    *) hosts="$hosts, IP:$host" ;;
    esac
done
sign server "extendedKeyUsage = serverAuth
subjectAltName = $hosts"
for name; do
    case $name in
    '' | *[!A-Za-z0-9_-]* | ca | server) echo "no name of a client: '$name'" >&2 && exit 2 ;;
    esac
    sign "$name" 'extendedKeyUsage = clientAuth'
done
chmod a+r ./*.crt
