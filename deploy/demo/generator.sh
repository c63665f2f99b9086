#!/usr/bin/env bash
# A shop that logs as services do, and misbehaves after two minutes: it prints something that it never printed, its retries
# become a flood, its health check falls silent, and a line of severity critical ends it. Then it begins anew.
#   generator.sh HOST PORT [BUCKET_S]
# All times are counted in drain's buckets, of which it needs thirty to know what is normal; demo.env makes them 4 s long.
# RFC 5424 over TCP, a line for each message (RFC 6587, 3.4.2).
set -euo pipefail

usage='usage: generator.sh HOST PORT [BUCKET_S]'
host=${1:?$usage} port=${2:?$usage} bucket_s=${3:-4}
ticks_per_s=5
alive=${ALIVE_FILE:-/tmp/alive} # touched every second, for whoever checks the health

connect() { until exec 3>"/dev/tcp/$host/$port"; do sleep 1; done 2>/dev/null; }

log() { # severity text
    local now
    printf -v now '%(%Y-%m-%dT%H:%M:%SZ)T' -1
    # Facility 3, daemon. Whoever was cut off connects again and repeats it.
    until printf '<%d>1 %s shop-1 shop 7 - - %s\n' $((3 * 8 + $1)) "$now" "$2" >&3; do connect; done 2>/dev/null
}

health() { log 6 "health check of orders took $((RANDOM % 40 + 3)) ms"; }
retry() { log 5 "payment $((RANDOM % 9000 + 1000)) declined by upstream, retry $((RANDOM % 3 + 1))"; }

ordinary() { health; (($1 % ticks_per_s)) || retry; }
flood() { health; for _ in {1..20}; do retry; done; }
silence() { (($1 % ticks_per_s)) || retry; }

live() { # buckets how
    local tick
    for ((tick = 0; tick < $1 * bucket_s * ticks_per_s; tick++)); do
        "$2" "$tick"
        sleep "0.$((10 / ticks_per_s))"
        ((tick % ticks_per_s)) || touch "$alive"
    done
}

trap '' PIPE # a broken connection is an error of printf, not the end
connect
while true; do
    echo "the shop is well"
    live 30 ordinary
    echo "something new: a warning about a certificate"
    log 4 "certificate of upstream payments expires tomorrow"
    live 1 ordinary
    echo "a flood of retries"
    live 4 flood
    echo "the health check falls silent"
    live 10 silence
    echo "the worst: a line of severity critical"
    log 2 "out of memory: the order database was killed"
    live 3 silence
done
