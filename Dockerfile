# syntax=docker/dockerfile:1
# One image with every binary; a container says which one it runs:  docker run nephoscope nephoscope-drain
ARG RUST_VERSION=1.95
ARG DEBIAN_VERSION=bookworm

FROM rust:${RUST_VERSION}-slim-${DEBIAN_VERSION} AS build
WORKDIR /src
# What the build needs stands in one place, for machines and images alike.
COPY scripts/setup scripts/setup
RUN scripts/setup build
COPY . .
# The caches outlive the layer, so a changed line compiles what it touches and no more.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p nephoscope -p nephoscope-syslog -p nephoscope-heartbeat -p nephoscope-drain -p nephoscope-incident -p nephoscope-matrix-profile \
    -p nephoscope-notifier && \
    install -D -t /out target/release/nephoscope target/release/nephoscope-syslog target/release/nephoscope-heartbeat target/release/nephoscope-drain \
    target/release/nephoscope-incident target/release/nephoscope-matrix-profile target/release/nephoscope-notifier

FROM debian:${DEBIAN_VERSION}-slim
# ca-certificates and libssl3: brokers that demand TLS. systemd: journalctl, with which a host's journal is read; nothing
# of it is started. The machine id that its package makes would be that of every container: replicas take their names from it.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libssl3 systemd && \
    rm -rf /var/lib/apt/lists/* /etc/machine-id && \
    groupadd --system --gid 10001 nephoscope && \
    useradd --system --uid 10001 --gid nephoscope --no-create-home --shell /usr/sbin/nologin nephoscope && \
    install -d -o nephoscope -g nephoscope /var/lib/nephoscope /run/nephoscope
COPY --from=build /out/ /usr/local/bin/
COPY LICENSE /usr/share/doc/nephoscope/
USER 10001:10001
# A container is its own machine: who may reach the port is decided where it is published. 9464 is the port of
# OpenTelemetry's Prometheus exporter.
ENV NEPHOSCOPE_LISTEN__ADMIN=0.0.0.0:9464 \
    NEPHOSCOPE_BUS__DATA_DIR=/var/lib/nephoscope
VOLUME /var/lib/nephoscope
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["nephoscope", "health", "--address", "http://127.0.0.1:9464"]
CMD ["nephoscope", "up"]
