#!/bin/sh
# Packages of npm, as locked: tools/npm.sh FOLDER-WITH-PACKAGE.JSON WHERE
# They are installed below WHERE (in build/), once per lock file; no package's script is run.
set -eu
cd "$(dirname "$0")/.."
from=$1
to=$2
if ! command -v npm >/dev/null 2>&1; then
    echo "npm is missing: run tools/deps.sh browser (or install nodejs and npm), then try again" >&2
    exit 1
fi
if cmp -s "$from/package-lock.json" "$to/installed.json" 2>/dev/null; then
    exit 0
fi
mkdir -p "$to"
cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$to"
(cd "$to" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
cp "$from/package-lock.json" "$to/installed.json"
