# The host with a plugin in its place: the dummy (the default target), or another one (`--target rapl`). And what plugins are
# compiled in (`--target sdk`).
#
# Everything is compiled on the builder's own platform for the wanted one, and the images themselves are only copied
# together: building for another platform needs no emulation.

# The compiler for the wanted platform; what is missing is fetched, so a base that has it all needs no network.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1-bookworm AS toolchain
ARG BUILDARCH
ARG TARGETARCH
# The cross compiler is that of the base's own Debian, so its version is not pinned.
# hadolint ignore=DL3008
RUN set -eu; \
    case "$TARGETARCH" in \
        amd64) cpu=x86_64; compiler=gcc-x86-64-linux-gnu ;; \
        arm64) cpu=aarch64; compiler=gcc-aarch64-linux-gnu ;; \
        *) echo "no image is built for '$TARGETARCH': amd64 and arm64 are" >&2; exit 1 ;; \
    esac; \
    target="$cpu-unknown-linux-gnu"; \
    printf '[build]\ntarget = "%s"\n' "$target" > "$CARGO_HOME/config.toml"; \
    [ "$TARGETARCH" != "$BUILDARCH" ] || exit 0; \
    printf '[target.%s]\nlinker = "%s-linux-gnu-gcc"\n' "$target" "$cpu" >> "$CARGO_HOME/config.toml"; \
    if ! command -v "$cpu-linux-gnu-gcc"; then \
        apt-get update; \
        apt-get install -y --no-install-recommends "$compiler" "libc6-dev-$TARGETARCH-cross"; \
        rm -rf /var/lib/apt/lists/*; \
    fi; \
    [ -d "$(rustc --print target-libdir --target "$target")" ] || rustup target add "$target"

# The workspace with every source file emptied: the same as long as no manifest and no crate root is added or changed,
# whatever happens in the sources, so that the layer of compiled dependencies stays. Times are set because they count.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1-bookworm AS manifests
WORKDIR /build
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock \
        ! -path '*/src/lib.rs' ! -path '*/src/main.rs' ! -path '*/src/bin/*.rs' ! -name build.rs -delete \
    && printf '#![allow(warnings)]\npub fn main() {}\n' > /empty.rs \
    && find . -name '*.rs' -exec cp /empty.rs {} \; \
    && find . -type d -empty -delete \
    && find . -exec touch -d @0 {} +

FROM toolchain AS dependencies
# All that ships, built at once, so that the crates they share are built once.
ENV PACKAGES="-p monitor-host -p monitor-dummy -p monitor-nvml -p monitor-python -p monitor-python-bridge -p monitor-rapl -p monitor-scrape"
WORKDIR /build
COPY --from=manifests /build .
# Packages are split at the blanks on purpose.
# hadolint ignore=SC2086
RUN cargo build --release --locked $PACKAGES

# The sources are made newer than the emptied ones, else cargo would take those for built.
FROM dependencies AS build
COPY . .
# hadolint ignore=SC2086
RUN find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked $PACKAGES \
    && mkdir -p /out/spool/monitor-host \
    && chmod 0775 /out/spool/monitor-host \
    && cp target/*-linux-gnu/release/monitor-host target/*-linux-gnu/release/libmonitor_*.so /out/

# The crates that a plugin needs at least, downloaded here once.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1-bookworm AS crates
WORKDIR /opt/monitor/plugin-api
COPY plugin-api .
# Who compiles in the sdk may be any user, and needs other crates as well.
RUN cargo fetch && rm -rf "$CARGO_HOME"/registry/src/* && chmod -R a+w "$CARGO_HOME/registry"

# What plugins are compiled in: the Debian that the runtime image is made of, so that its GLIBC always fits, the API that
# its host speaks (monitor-plugin-api = { path = "/opt/monitor/plugin-api" }), and a plugin to start from.
FROM docker.io/library/rust:1-bookworm AS sdk
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="monitor-host sdk" \
      org.opencontainers.image.description="Rust and monitor-plugin-api, to compile sensor plugins of monitor-host in" \
      org.opencontainers.image.source="https://github.com/aimilefth/monitor-host" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=crates /usr/local/cargo/registry /usr/local/cargo/registry
COPY plugin-api /opt/monitor/plugin-api
COPY plugins/template /opt/monitor/template
WORKDIR /plugin

# The host without a plugin. Each of the images below, but for Python's, is this and one library.
FROM gcr.io/distroless/cc-debian12:nonroot AS base
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="monitor-host" \
      org.opencontainers.image.description="A Prometheus remote-write client whose sensor is one shared library" \
      org.opencontainers.image.source="https://github.com/aimilefth/monitor-host" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/monitor-host /opt/monitor/
# A place for SPOOL_DIR: a new volume that is mounted there is its user's, and of the group of a uid 0 without capabilities.
COPY --from=build --chown=65532:0 /out/spool/ /var/spool/
ENV MONITOR_IMPL_PATH=/opt/monitor/libmonitor_impl.so
ENV ADMIN_ADDR=0.0.0.0:9464
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/opt/monitor/monitor-host", "health"]
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/monitor/monitor-host"]

# Energy of processors: has to run as uid 0, with the host's /sys (plugins/rapl/README.md).
FROM base AS rapl
COPY --from=build /out/libmonitor_rapl.so /opt/monitor/libmonitor_impl.so

# NVIDIA's GPUs. The driver's library is the host's: the container toolkit brings it, which these variables ask for.
FROM base AS nvml
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=utility
COPY --from=build /out/libmonitor_nvml.so /opt/monitor/libmonitor_impl.so

# What exporters show.
FROM base AS scrape
COPY --from=build /out/libmonitor_scrape.so /opt/monitor/libmonitor_impl.so

# Modules of the original's kind: a derived image puts its monitor_impl.py into /opt/monitor.
FROM docker.io/library/python:3.11-slim-bookworm AS python
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="monitor-host python" \
      org.opencontainers.image.description="monitor-host that runs a monitor_impl.py" \
      org.opencontainers.image.source="https://github.com/aimilefth/monitor-host" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/monitor-host /opt/monitor/
COPY --from=build /out/libmonitor_python.so /opt/monitor/libmonitor_impl.so
COPY --from=build /out/libmonitor_python_bridge.so /opt/monitor/
COPY --from=build --chown=65532:0 /out/spool/ /var/spool/
ENV MONITOR_IMPL_PATH=/opt/monitor/libmonitor_impl.so
ENV ADMIN_ADDR=0.0.0.0:9464
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["/opt/monitor/monitor-host", "health"]
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/monitor/monitor-host"]

# The default: numbers that look like power, until another plugin is put in its place.
FROM base AS runtime
COPY --from=build /out/libmonitor_dummy.so /opt/monitor/libmonitor_impl.so
