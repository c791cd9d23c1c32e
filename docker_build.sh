#!/usr/bin/env bash
# Builds the images and the sdk for amd64 and arm64 with docker buildx, and pushes them.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'TEXT'
Builds the image (the host with the dummy plugin), one for each sensor, and the sdk (what plugins are compiled in) with
docker buildx, for linux/amd64 and linux/arm64, and pushes them. Nothing is emulated: arm64 is cross-compiled.

    ./docker_build.sh             build and push aimilefth/base-monitoring-client, and its tags sdk, rapl, nvml,
                                  scrape and python
    ./docker_build.sh --load      build for this machine's platform only, into the local Docker; push nothing

Environment:
    IMAGE       another name, with or without a tag: me/monitor gives me/monitor:latest, me/monitor:sdk and so on,
                me/monitor:1.2 gives me/monitor:1.2, me/monitor:1.2-sdk and so on
    PLATFORMS   other platforms to push for (linux/amd64,linux/arm64)
    BUILDER     a buildx builder of your own; by default one named monitor-host is made, because Docker's own can't
                build for several platforms
TEXT
}

load=
for argument; do
    case $argument in
        --load) load=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            printf 'error: unknown argument %s\n\n' "$argument" >&2
            usage >&2
            exit 2
            ;;
    esac
done

image=${IMAGE:-aimilefth/base-monitoring-client}
# A colon before the last slash belongs to a registry's port.
if [[ ${image##*/} == *:* ]]; then
    tagged=$image-
else
    tagged=$image:
    image=$image:latest
fi

docker buildx version >/dev/null 2>&1 || {
    echo "error: there is no docker buildx here; install Docker with its buildx plugin" >&2
    exit 1
}

if [[ $load ]]; then
    options=(--load)
    [[ -z ${BUILDER:-} ]] || options+=(--builder "$BUILDER")
else
    builder=${BUILDER:-monitor-host}
    if [[ -z ${BUILDER:-} ]] && ! docker buildx inspect "$builder" >/dev/null 2>&1; then
        docker buildx create --name "$builder" --driver docker-container >/dev/null
    fi
    options=(--push --builder "$builder" --platform "${PLATFORMS:-linux/amd64,linux/arm64}")
fi

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
options+=(--build-arg "VERSION=$version")
if revision=$(git rev-parse HEAD 2>/dev/null); then
    options+=(--build-arg "REVISION=$revision")
fi

build() {
    echo "building $2"
    docker buildx build "${options[@]}" --target "$1" --tag "$2" .
}
build runtime "$image"
for target in sdk rapl nvml scrape python; do
    build "$target" "$tagged$target"
done
