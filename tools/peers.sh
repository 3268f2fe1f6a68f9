#!/bin/sh
# peers.sh ffmpeg|nginx ...: install the strangers' software that tests and benchmarks talk to, where it
# is missing and that is possible. Never fails: what is missing is said in one line.
set -u

missing=""
for peer in "$@"; do
    case "$peer" in
    ffmpeg)
        command -v ffmpeg >/dev/null 2>&1 || missing="$missing ffmpeg"
        ;;
    nginx)
        if ! PATH="$PATH:/usr/sbin" command -v nginx >/dev/null 2>&1 ||
            [ ! -e /usr/lib/nginx/modules/ngx_rtmp_module.so ]; then
            missing="$missing nginx libnginx-mod-rtmp"
        fi
        ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    $as_root true 2>/dev/null || as_root="none"
fi

if command -v apt-get >/dev/null 2>&1 && [ "$as_root" != "none" ]; then
    # shellcheck disable=SC2086  # words on purpose
    echo "installing:" $missing
    # shellcheck disable=SC2086
    if $as_root apt-get update -qq >/dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
        exit 0
    fi
fi
# shellcheck disable=SC2086
echo "not installed:" $missing "- what needs them fails or is skipped; use your package manager" >&2
