#!/bin/sh
# From a video to HLS and DASH on a farm of one: tools/demo.sh [FILE]
# Without FILE a sample is made: a moving picture with a time code burned in, and a tone. With KEEP=1 the farm
# goes on afterwards, so that the result can be played from its address.
set -eu
cd "$(dirname "$0")/.."

data=$PWD/build/demo-data
input=${1:-}
log=$PWD/build/demo.log

for program in sluice sluiced sluice-agent sluice-worker; do
    if [ ! -x "build/$program" ]; then
        echo "demo: build/$program is not there: run make first" >&2
        exit 1
    fi
done
if [ -n "$input" ] && [ ! -f "$input" ]; then
    echo "demo: there is no file $input: check IN=file" >&2
    exit 3
fi
mkdir -p "$data"

if [ -z "$input" ]; then
    input=$PWD/build/demo-sample.mp4
    if [ ! -s "$input" ]; then
        echo "making a sample clip of 20 s: $input"
        font=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
        picture="drawtext=fontsize=72:x=(w-tw)/2:y=h-140:fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=12:timecode='00\:00\:00\:00':rate=25"
        [ -f "$font" ] && picture="$picture:fontfile=$font"
        ffmpeg -hide_banner -loglevel error -nostdin -y \
            -f lavfi -i "testsrc2=size=1280x720:rate=25:duration=20" \
            -f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=48000:duration=20" \
            -vf "$picture" -c:v libx264 -preset veryfast -crf 18 -g 50 -pix_fmt yuv420p \
            -c:a aac -b:a 128k -shortest "$input.part.mp4"
        mv "$input.part.mp4" "$input"
    fi
fi

# Ports that nobody listens on, so that a farm which runs already is left alone.
port=${SLUICE_DEMO_PORT:-8800}
listens() {
    said=$(build/sluice --api "http://127.0.0.1:$1" status 2>&1 || true)
    case $said in *"connection refused"*) return 1 ;; *) return 0 ;; esac
}
while listens "$port" || listens $((port + 1)); do
    port=$((port + 10))
    if [ "$port" -gt 65000 ]; then
        echo "demo: no free port found" >&2
        exit 1
    fi
done
export SLUICE_API="http://127.0.0.1:$port"

farm=""
stop() {
    if [ -n "$farm" ]; then
        kill "$farm" 2>/dev/null || true
        wait "$farm" 2>/dev/null || true
        farm=""
    fi
}
trap stop EXIT
trap 'exit 130' INT TERM

echo "starting a farm of one at $SLUICE_API, data in $data (log: $log)"
out=$PWD/build/demo.out
: >"$out"
build/sluice up --data "$data" --http "127.0.0.1:$port" --wire "tcp://127.0.0.1:$((port + 1))" \
    >"$out" 2>"$log" &
farm=$!
tries=0
until grep -q '^ready ' "$out"; do
    if ! kill -0 "$farm" 2>/dev/null; then
        code=0
        wait "$farm" || code=$?
        farm=""
        echo "demo: the farm did not start:" >&2
        tail -n 5 "$log" >&2
        exit "$code"
    fi
    tries=$((tries + 1))
    if [ "$tries" -gt 600 ]; then
        echo "demo: the farm was not ready within 60 s; see $log" >&2
        exit 1
    fi
    sleep 0.1
done

video=$(build/sluice submit "$input" | cut -d' ' -f1)
[ -n "$video" ] || exit 1
echo "video $video: $input"
code=0
build/sluice watch "$video" || code=$?
[ "$code" = 0 ] || exit "$code"
build/sluice status "$video"

# published/ is served below /media/.
manifest() {
    build/sluice status "$video" --json | sed -n "s/^ *\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1
}
hls=$(manifest hls)
dash=$(manifest dash)
echo
echo "HLS    $hls"
echo "DASH   $dash"
echo "files  $data/published/${hls##*/media/}"
if [ "${KEEP:-0}" = 1 ]; then
    echo "the farm goes on: play the addresses above; stop it with: kill $farm"
    trap - EXIT
else
    echo "the farm stops now; with KEEP=1 it stays, and the addresses above can be played"
    stop
fi
echo ready
