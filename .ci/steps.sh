# What .ci/run and .ci/long share: steps with a budget, packages of Debian, environments from a lock.
# shellcheck shell=bash
PATH=$PATH:/usr/sbin:/sbin
SECONDS=0

say() { printf 'ci: %s\n' "$*" >&2; }
minutes() { awk -v s=$((SECONDS - $1)) 'BEGIN { printf "%.1f", s / 60 }'; }

step() { # step MINUTES NAME COMMAND...: run the command, then print its time beside its budget
    local budget=$1 name=$2 begun=$SECONDS
    shift 2
    say "$name (budget: $budget min)"
    "$@"
    say "$name: $(minutes "$begun") of $budget min, $(minutes 0) min since the start"
}

install_debian() { # install what is missing of these packages, and of what makes environments
    local missing=() package
    python3.13 -c 'import ensurepip' 2>/dev/null || python3.12 -c 'import ensurepip' 2>/dev/null ||
        missing+=(python3-venv)
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

environment() { # environment FOLDER LOCK: make one beside .venv from a lock of its own
    ./dev python -m venv "$1"
    "$1/bin/python" -m pip install --quiet --no-compile \
        --only-binary :all: --require-hashes --requirement "$2"
}
