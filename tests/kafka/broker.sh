#!/usr/bin/env bash
# A real Apache Kafka on loopback, for tests and for trying things out: KRaft, no Docker, everything under target/kafka.
#
#   broker.sh start [--brokers 1|3] [--port P] [--secure] [--authorizer] [--user NAME:PASSWORD]… [--owner PID] [--dir D]
#   broker.sh stop | env | tool CLASS [ARGUMENT…]            [--dir D before the class]
#   broker.sh kill | pause | resume | restart [N]            [--dir D]
#
#   --brokers 3    three brokers, each one also a controller; replication factor 3, min.insync.replicas 2
#   --port P       broker N listens on P + 10 (N - 1), its controller one above, its SASL_SSL listener two above; 9092; 0 = any free
#   --secure       one more listener per broker: SASL_SSL, SCRAM-SHA-512, a certificate of a CA made here (see `env`).
#                  Clients on a librdkafka before 2.6.1, as Debian 12's kcat, send a nonce that Kafka 4 refuses (librdkafka 4895)
#   --user         a SCRAM user besides `admin` (its password: admin-secret); users are made with the cluster, not later
#   --authorizer   only `admin`, and whoever comes by the plaintext listener, may do what no ACL allows
#   --owner PID    stop and remove the folder when that process ends: a test that is killed leaves nothing behind
#   kill N         kill -9; `restart N` brings it back, or restarts a living one politely; pause and resume are SIGSTOP and SIGCONT
#   tool           one of Kafka's own tools: `tool TopicCommand --list`, `tool AclCommand --add …`; the bootstrap servers are added
#
# Exit code 77: cannot run here (no Java 17, or no jars and no Maven or registry to get them from); the reason is printed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$(cd "$here/../.." && pwd)/target}
ready_s_max=60
stop_s_max=10

say() { echo "broker: $*" >&2; }
fail() { say "$*"; exit 1; }
cannot() { say "$*"; exit 77; }

# --- jars -----------------------------------------------------------------------------------------------------------

java_is_recent() {
    command -v java >/dev/null || return 1
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ]
}

# The folder of jars is named by what it was made from, so another pom.xml gets another one. Sets `jars`.
find_jars() {
    java_is_recent || cannot "a Java runtime 17 or newer is needed (Debian: default-jre-headless)"
    jars=$target/kafka/jars-$(sha256sum "$here/pom.xml" | cut -c 1-12)
    [ ! -d "$jars" ] || return 0
    command -v mvn >/dev/null || cannot "Maven is needed, once, to fetch Kafka's jars (Debian: maven)"
    mkdir -p "$target/kafka"
    exec 9>"$target/kafka/lock"
    flock 9
    if [ ! -d "$jars" ]; then
        say "fetching Apache Kafka (45 MB, once)"
        mvn -B -q -f "$here/pom.xml" -Dmaven.repo.local="$target/kafka/maven" dependency:copy-dependencies \
            -DoutputDirectory="$jars.partial" >"$target/kafka/maven.log" 2>&1 ||
            cannot "Maven could not fetch Kafka's jars: $(grep -m 1 ERROR "$target/kafka/maven.log" | cut -c 1-300)"
        mv "$jars.partial" "$jars"
        rm -rf "$target/kafka/maven"
    fi
    exec 9>&-
}

# --- one node -------------------------------------------------------------------------------------------------------

node_dir() { echo "$dir/node-$1"; }
plain_port() { echo $((port + 10 * ($1 - 1))); }
each_node() { seq 1 "$brokers"; } # the names of the nodes, a line for each

servers() { # offset: the listeners of all nodes, as a client wants them
    each_node | while read -r n; do echo "127.0.0.1:$(($(plain_port "$n") + $1))"; done | paste -sd,
}

properties() { # node
    local plain voters replicas=$brokers in_sync=$(((brokers + 1) / 2))
    plain=$(plain_port "$1")
    voters=$(each_node | while read -r n; do echo "$n@127.0.0.1:$(($(plain_port "$n") + 1))"; done | paste -sd,)
    local listeners="PLAINTEXT://127.0.0.1:$plain" secure_listener=
    [ "$secure" = 0 ] || secure_listener=",SASL_SSL://127.0.0.1:$((plain + 2))"
    cat <<PROPERTIES
process.roles=broker,controller
node.id=$1
listeners=$listeners$secure_listener,CONTROLLER://127.0.0.1:$((plain + 1))
advertised.listeners=$listeners$secure_listener
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
controller.quorum.voters=$voters
log.dirs=$(node_dir "$1")/data
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
# A topic that nobody created is a mistake, and would have the wrong partitions.
auto.create.topics.enable=false
# Few partitions of the internal topics: a fast start. Short sessions: a killed broker is back after 4 instead of 12 s.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
PROPERTIES
    [ "$secure" = 0 ] || cat <<PROPERTIES
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location=$dir/tls/broker.pem
PROPERTIES
    [ "$authorizer" = 0 ] || cat <<PROPERTIES
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
PROPERTIES
}

format_node() { # node
    local node user scram=()
    node=$(node_dir "$1")
    mkdir -p "$node"
    properties "$1" >"$node/server.properties"
    [ ! -e "$node/data/meta.properties" ] || return 0
    if [ "$secure" = 1 ]; then
        for user in $users; do scram+=(--add-scram "SCRAM-SHA-512=[name=${user%%:*},password=${user#*:}]"); done
    fi
    java -cp "$jars/*" kafka.tools.StorageTool format "--cluster-id=$cluster_id" -c "$node/server.properties" "${scram[@]}" >"$node/format.log" 2>&1 ||
        fail "format of node $1 failed: $(tail -n 3 "$node/format.log")"
}

# A pid alone may belong to a stranger by now; with its start time (field 22 of /proc/PID/stat) it cannot. A zombie has ended.
started_at() { sed -n 's/.*) //; /^Z/!p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

running() { # node: sets `pid` if the process that we started still runs
    local started
    [ -e "$(node_dir "$1")/pid" ] && read -r pid started <"$(node_dir "$1")/pid" && [ "$(started_at "$pid")" = "$started" ]
}

launch() { # node
    local node
    node=$(node_dir "$1")
    setsid java -Xmx512m -Dorg.apache.logging.log4j.level=WARN -cp "$jars/*" kafka.Kafka "$node/server.properties" \
        </dev/null >>"$node/log" 2>&1 9>&- &
    echo "$! $(started_at $!)" >"$node/pid"
}

signal() { # signal node
    running "$2" || fail "node $2 does not run"
    kill "-$1" "$pid"
}

gone() { # node seconds
    local tenths=$(($2 * 10))
    while running "$1"; do
        [ $((tenths--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

end_nodes() { # nodes…: all at once, for a quorum that waits for its other half does not end
    local n
    for n; do ! running "$n" || { kill -CONT "$pid" && kill -TERM "$pid"; }; done
    for n; do gone "$n" "$stop_s_max" || { kill -KILL "$pid" 2>/dev/null || true; gone "$n" 5 || fail "node $n does not end"; }; done
    for n; do rm -f "$(node_dir "$n")/pid"; done
}

# --- readiness ------------------------------------------------------------------------------------------------------

# Asks a node for metadata (key 3, version 1, no topics) and prints how many brokers it knows. A socket and 27 bytes
# answer in a millisecond; the tools of the jars are JVMs. A fenced or starting broker does not answer at all.
known_brokers() { # node
    local answer
    answer=$(
        exec 2>/dev/null 3<>"/dev/tcp/127.0.0.1/$(plain_port "$1")" || exit 0
        printf '\0\0\0\x13\0\x03\0\x01\0\0\0\x01\0\x05probe\0\0\0\0' >&3
        timeout 2 head -c 12 <&3 | od -An -v -tx1 | tr -d ' \n'
    )
    [ ${#answer} = 24 ] && echo $((16#${answer:16:8}))
}

wait_ready() { # brokers_min nodes…
    local brokers_min=$1 n deadline=$((SECONDS + ready_s_max)) found
    shift
    for n; do
        until found=$(known_brokers "$n") && [ "$found" -ge "$brokers_min" ]; do
            running "$n" || fail "node $n ended while it started: $(tail -n 5 "$(node_dir "$n")/log")"
            [ $SECONDS -lt $deadline ] || fail "node $n is not ready after $ready_s_max s: $(tail -n 5 "$(node_dir "$n")/log")"
            sleep 0.1
        done
    done
}

# --- cluster --------------------------------------------------------------------------------------------------------

free_port() { # a base whose ports nobody listens on; below the range that clients' own sockets are given
    local base offset busy
    for ((attempt = 0; attempt < 100; attempt++)); do
        base=$((12000 + RANDOM % 18000)) busy=0
        for offset in 0 1 2 10 11 12 20 21 22; do
            if (exec 3<>"/dev/tcp/127.0.0.1/$((base + offset))") 2>/dev/null; then busy=1; fi
        done
        [ $busy = 1 ] || { echo $base; return; }
    done
    fail "no free ports found"
}

make_certificates() {
    [ ! -e "$dir/tls/broker.pem" ] || return 0
    command -v openssl >/dev/null || cannot "openssl is needed for --secure"
    mkdir -p "$dir/tls"
    (
        umask 077
        cd "$dir/tls"
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=Nephoscope test CA" -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj "/CN=127.0.0.1" -keyout broker.key -out broker.csr
        openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -out broker.crt \
            -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost")
        cat broker.key broker.crt >broker.pem
    ) 2>"$dir/tls/log" || fail "openssl failed: $(tail -n 3 "$dir/tls/log")"
}

load_cluster() { # sets brokers, port, secure, authorizer, users, cluster_id
    [ -e "$dir/cluster" ] || fail "no cluster in $dir: \`broker.sh start\` makes one"
    # shellcheck source=/dev/null
    . "$dir/cluster"
}

start() { # the nodes that do not run; a running cluster keeps its port
    find_jars
    local wanted_port=$port
    if [ -e "$dir/cluster" ]; then
        local wanted="$brokers $secure $authorizer $users"
        load_cluster
        [ "$wanted" = "$brokers $secure $authorizer $users" ] ||
            fail "$dir holds a cluster with other options (brokers $brokers, secure $secure, authorizer $authorizer, users $users): remove it or name another --dir"
    fi
    mkdir -p "$dir"
    local n nodes missing=()
    mapfile -t nodes < <(each_node)
    for n in "${nodes[@]}"; do running "$n" || missing+=("$n"); done
    if [ ${#missing[@]} = "$brokers" ]; then
        port=${wanted_port:-${port:-9092}}
        [ "$port" != 0 ] || port=$(free_port)
    fi
    for n in "${missing[@]}"; do
        if known_brokers "$n" >/dev/null; then fail "port $(plain_port "$n") is taken by another broker"; fi
    done
    : "${cluster_id:=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)}"
    printf '%s=%q\n' brokers "$brokers" port "$port" secure "$secure" authorizer "$authorizer" users "$users" \
        cluster_id "$cluster_id" >"$dir/cluster"
    [ "$secure" = 0 ] || make_certificates
    for n in "${missing[@]}"; do format_node "$n"; done
    for n in "${missing[@]}"; do launch "$n"; done
    # With `||` instead of `if`, a shell in the background would hold our caller's pipes open.
    if [ -n "$owner" ]; then (tail --pid="$owner" -f /dev/null; stop; rm -rf "$dir") </dev/null >/dev/null 2>&1 & fi
    wait_ready "$brokers" "${nodes[@]}"
    print_env
}

stop() {
    local nodes
    mapfile -t nodes < <(each_node)
    end_nodes "${nodes[@]}"
}

print_env() {
    echo "KAFKA_BOOTSTRAP=$(servers 0)"
    [ "$secure" = 0 ] || cat <<ENV
KAFKA_SECURE_BOOTSTRAP=$(servers 2)
KAFKA_SECURE_CA=$dir/tls/ca.pem
KAFKA_SECURE_MECHANISM=SCRAM-SHA-512
KAFKA_SECURE_USERS=${users// /,}
ENV
}

tool() { # class argument…
    find_jars
    local class=$1 flag=--bootstrap-server
    shift
    case $class in *.*) ;; *) class=org.apache.kafka.tools.$class ;; esac
    exec java -Xmx256m -cp "$jars/*" "$class" $flag "$(servers 0)" "$@"
}

# --- command line ---------------------------------------------------------------------------------------------------

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" | grep -v '^set'; exit 2; }

[ $# -gt 0 ] || usage
command=$1
shift
dir=$target/kafka/broker brokers=1 port='' secure=0 authorizer=0 users=admin:admin-secret owner='' node=1 cluster_id=''
while [ $# -gt 0 ]; do
    case $1 in
        --dir) dir=$(realpath -m "$2") && shift 2 ;;
        --brokers) brokers=$2 && shift 2 ;;
        --port) port=$2 && shift 2 ;;
        --secure) secure=1 && shift ;;
        --authorizer) authorizer=1 && shift ;;
        --user) users="$users $2" && shift 2 ;;
        --owner) owner=$2 && shift 2 ;;
        [1-9]) node=$1 && shift ;;
        *) [ "$command" = tool ] || { say "unknown argument: $1"; usage; }; break ;;
    esac
done
case $brokers in 1 | 3) ;; *) fail "--brokers takes 1 or 3, got $brokers" ;; esac

[ "$command" = start ] || { case $command in stop | kill | pause | resume | restart | env | tool) load_cluster ;; *) usage ;; esac; }
[ "$node" -le "$brokers" ] || fail "there is no node $node among $brokers"
case $command in
    start) start ;;
    stop) stop ;;
    kill) signal KILL "$node" && { gone "$node" 5 || fail "node $node does not end"; } ;;
    pause) signal STOP "$node" ;;
    resume) signal CONT "$node" ;;
    restart) find_jars && end_nodes "$node" && launch "$node" && wait_ready 1 "$node" ;;
    env) print_env ;;
    tool) [ $# -gt 0 ] || usage; tool "$@" ;;
esac
