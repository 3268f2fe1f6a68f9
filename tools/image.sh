#!/bin/sh
# image.sh [NAME [OPTION ...]]: build the image of deploy/docker as NAME (rtmp-cluster), with docker, buildah or
# podman, the first that works here. Options go to its build command.
#
# Where no registry has the Python image for us, one is made of Debian's packages with debootstrap: that needs
# root and buildah.
set -eu
cd "$(dirname "$0")/.."
name=${1:-rtmp-cluster}
[ $# -eq 0 ] || shift
base=$(sed -n 's/^ARG PYTHON_IMAGE=//p' deploy/docker/Dockerfile)
suite=trixie
packages=ca-certificates,python3,python3-venv,python-is-python3
made_here=localhost/python-of-debian:$suite

has() { command -v "$1" >/dev/null 2>&1; }

if has docker && docker info >/dev/null 2>&1; then
    exec docker build -f deploy/docker/Dockerfile -t "$name" "$@" .
fi
for builder in buildah podman ""; do
    [ -n "$builder" ] && has "$builder" && "$builder" info >/dev/null 2>&1 && break
done
if [ -z "$builder" ]; then
    echo "image.sh: neither docker, podman nor buildah works here (Debian: apt-get install buildah)" >&2
    exit 1
fi

if "$builder" pull -q "docker.io/library/$base" >/dev/null 2>&1; then
    base=docker.io/library/$base
elif has buildah && has debootstrap && [ "$(id -u)" -eq 0 ]; then
    base=$made_here
    if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
        echo "no registry has $base for us: making $made_here of Debian's packages"
        container=$(buildah from scratch)
        trap 'buildah rm "$container" >/dev/null' EXIT  # or each attempt that fails leaves half a Debian
        trap 'exit 1' INT TERM
        root=$(buildah mount "$container")
        # Its errors are on stdout.
        said=$(debootstrap --variant=minbase --include="$packages" "$suite" "$root" 2>&1) || {
            echo "image.sh: debootstrap failed: $(echo "$said" | tail -n 1)" >&2
            exit 1
        }
        rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
        buildah umount "$container" >/dev/null
        buildah commit -q --rm "$container" "$base" >/dev/null
        trap - EXIT INT TERM
    fi
else
    echo "image.sh: no registry has $base, and without root, buildah and debootstrap none can be made" >&2
    exit 1
fi
if [ "$builder" = buildah ] && [ -z "${BUILDAH_ISOLATION:-}" ]; then
    # Without a runtime for containers, or without the kernel's consent to one, a chroot does.
    container=$(buildah from "$base")
    buildah run "$container" -- true >/dev/null 2>&1 || export BUILDAH_ISOLATION=chroot
    buildah rm "$container" >/dev/null
fi
# Docker's own form of an image: the health check is not in the other.
exec "$builder" build --format docker --build-arg "PYTHON_IMAGE=$base" \
    -f deploy/docker/Dockerfile --ignorefile deploy/docker/Dockerfile.dockerignore -t "$name" "$@" .
