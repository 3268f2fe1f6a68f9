#!/bin/sh
# peers.sh NAME ...: install the strangers' software that tests and benchmarks talk to, where it is missing
# and that is possible. Names: ffmpeg nginx gstreamer rtmpdump mpv obs vlc nghttp2 node-media-server fail2ban chromium
# webkit browser-players, and what the tests of several hosts and of deploy/ need: ip units compose ssh-hosts machine image.
# A compiled build: compiler. What reads metrics and alerts: promtool.
# Never fails: what is missing is said in one line.
set -u

#: Pinned, and kept out of the project's own directory; tests/interop/workbench.py looks for it there.
node_media_server="node-media-server@4.4.3"
#: The same; tests/browser/browser_cluster.py looks for them there.
browser_players="hls.js@1.7.4 mpegts.js@1.8.2 axe-core@4.14.1"
peers_home="${XDG_CACHE_HOME:-$HOME/.cache}/rtmp-cluster/peers"

missing=""

# want PROGRAM PACKAGE: the package goes on the list if the program is missing.
want() {
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}

for peer in "$@"; do
    case "$peer" in
    ffmpeg | rtmpdump | mpv)
        want "$peer" "$peer"
        ;;
    obs)
        # With a screen for it that nobody sees.
        want obs obs-studio
        want Xvfb xvfb
        ;;
    vlc)
        # Without the desktop's window.
        want cvlc vlc-bin
        [ -n "$(find /usr/lib -name libavformat_plugin.so -path '*vlc*' 2>/dev/null)" ] ||
            missing="$missing vlc-plugin-base"
        ;;
    nghttp2)
        want curl curl
        want h2load nghttp2-client
        ;;
    chromium)
        # With letters for the page, where there are none yet.
        want chromium "chromium fonts-dejavu-core"
        ;;
    webkit)
        # With a screen for it that nobody sees, and GStreamer's decoders and HLS.
        want WebKitWebDriver "webkit2gtk-driver fonts-dejavu-core"
        want Xvfb xvfb
        for plugin in libav isomp4 videoparsersbad hls debugutilsbad; do
            [ -n "$(find /usr/lib -name "libgst$plugin.so" 2>/dev/null)" ] || plugin=""
            [ -n "$plugin" ] || break
        done
        [ -n "$plugin" ] ||
            missing="$missing gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
        ;;
    browser-players)
        directory="$peers_home/browser-players"
        if [ ! -e "$directory/node_modules/hls.js/package.json" ] ||
            [ ! -e "$directory/node_modules/mpegts.js/package.json" ] ||
            [ ! -e "$directory/node_modules/axe-core/package.json" ]; then
            # shellcheck disable=SC2086  # words on purpose
            if ! { mkdir -p "$directory" && npm install --silent --no-audit --no-fund --ignore-scripts \
                --prefix "$directory" $browser_players >/dev/null 2>&1; }; then
                echo "not installed: $browser_players - what needs them fails; npm could not install them" >&2
            fi
        fi
        ;;
    image)
        # It builds and runs images without a daemon.
        want buildah buildah
        want debootstrap debootstrap
        ;;
    fail2ban)
        want fail2ban-regex fail2ban
        ;;
    promtool)
        # It comes with the server, which nobody here starts.
        want promtool prometheus
        ;;
    ip)
        want ip iproute2
        ;;
    compiler)
        want cc "gcc libc6-dev"
        ;;
    units)
        want systemd-analyze systemd
        ;;
    compose)
        docker compose version >/dev/null 2>&1 || want docker-compose docker-compose
        ;;
    ssh-hosts)
        want ip iproute2
        # Where systemd runs, the package would start a server that nobody asked for.
        [ -d /run/systemd/system ] || want sshd openssh-server
        want ssh openssh-client
        ;;
    machine)
        want debootstrap debootstrap
        want systemd-nspawn systemd-container
        want ip iproute2
        want ssh openssh-client
        ;;
    nginx)
        if ! PATH="$PATH:/usr/sbin" command -v nginx >/dev/null 2>&1 ||
            [ ! -e /usr/lib/nginx/modules/ngx_rtmp_module.so ]; then
            missing="$missing nginx libnginx-mod-rtmp"
        fi
        ;;
    gstreamer)
        # The elements that speak RTMP, and the TLS that their RTMPS needs.
        for element in rtmp2sink rtmpsink flvmux; do
            gst-inspect-1.0 "$element" >/dev/null 2>&1 || element=""
            [ -n "$element" ] || break
        done
        if [ -z "$element" ] || [ -z "$(find /usr/lib -name libgiognutls.so 2>/dev/null)" ]; then
            missing="$missing gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
            missing="$missing gstreamer1.0-plugins-bad glib-networking"
        fi
        ;;
    node-media-server)
        directory="$peers_home/node-media-server"
        if [ ! -e "$directory/node_modules/node-media-server/package.json" ]; then
            if ! command -v npm >/dev/null 2>&1; then
                echo "not installed: npm - node-media-server is skipped; install Node.js 20 or newer" >&2
            elif ! { mkdir -p "$directory" && npm install --silent --no-audit --no-fund --ignore-scripts \
                --prefix "$directory" "$node_media_server" >/dev/null 2>&1; }; then
                echo "not installed: $node_media_server - what needs it is skipped; npm could not install it" >&2
            fi
        fi
        ;;
    *)
        echo "peers.sh: unknown peer: $peer" >&2
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
    # RUNLEVEL=1: without systemd, a daemon that comes with a package is not started.
    # shellcheck disable=SC2086
    if $as_root apt-get update -qq >/dev/null &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends $missing >/dev/null; then
        exit 0
    fi
fi
# shellcheck disable=SC2086
echo "not installed:" $missing "- what needs them fails or is skipped; use your package manager" >&2
