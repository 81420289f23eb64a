#!/bin/sh
# What `make install` does after the programs are in place: tools/install.sh DESTDIR PREFIX WEB
# Units, user, folders and examples. Into the running system (DESTDIR empty) the user and folders are made
# too; into a package's tree only files are laid down, and systemd's own tools do it on the target.
set -eu
cd "$(dirname "$0")/.."
dest=$1
prefix=$2
web=$3

install -d "$dest/etc/sluice/policies" "$dest$prefix/lib/systemd/system" "$dest$prefix/lib/sysusers.d" \
    "$dest$prefix/lib/tmpfiles.d" "$dest$prefix/share/doc/sluice/examples" "$dest$prefix/share/sluice/web" \
    "$dest$prefix/share/sluice/policies"
for unit in sluiced.service sluice-agent.service; do
    sed "s|@PREFIX@|$prefix|g" "dist/$unit" >"$dest$prefix/lib/systemd/system/$unit"
    chmod 644 "$dest$prefix/lib/systemd/system/$unit"
done
install -m 644 dist/sluice.sysusers "$dest$prefix/lib/sysusers.d/sluice.conf"
install -m 644 dist/sluice.tmpfiles "$dest$prefix/lib/tmpfiles.d/sluice.conf"
install -m 644 README.md CHANGELOG.md LICENSE "$dest$prefix/share/doc/sluice"
install -m 644 config/examples/*.yaml "$dest$prefix/share/doc/sluice/examples"
install -m 644 config/policies/*.yaml "$dest$prefix/share/doc/sluice/examples"
install -m 644 config/policies/*.yaml "$dest$prefix/share/sluice/policies"

install -m 644 "$web"/* "$dest$prefix/share/sluice/web"
if [ ! -e "$web/hls.min.js" ]; then
    echo "the pages have no player library: run \`make web\` (it needs npm) and install again, else only browsers"
    echo "that play HLS themselves can watch"
fi

# A configuration that is there stays as it is.
if [ ! -e "$dest/etc/sluice/sluice.yaml" ]; then
    install -m 644 dist/sluice.yaml "$dest/etc/sluice/sluice.yaml"
fi
if [ ! -e "$dest/etc/sluice/agent.env" ]; then
    install -m 644 dist/agent.env "$dest/etc/sluice/agent.env"
fi

if [ -n "$dest" ]; then
    install -d -m 750 "$dest/var/lib/sluice"
    exit 0
fi
if ! getent passwd sluice >/dev/null; then
    if command -v systemd-sysusers >/dev/null 2>&1; then
        systemd-sysusers "$prefix/lib/sysusers.d/sluice.conf"
    else
        useradd --system --user-group --home-dir /var/lib/sluice --no-create-home \
            --shell /usr/sbin/nologin sluice
    fi
fi
install -d -o sluice -g sluice -m 750 /var/lib/sluice /var/lib/sluice/data /var/lib/sluice/agent
chgrp sluice /etc/sluice
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
cat <<END
installed. On the machine of the daemon: systemctl enable --now sluiced
on every machine that encodes: say where the daemon is in /etc/sluice/agent.env, then
systemctl enable --now sluice-agent
END
