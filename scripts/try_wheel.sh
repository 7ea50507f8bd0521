#!/usr/bin/env bash
# What somebody gets who installs the wheel into an empty environment and runs the quickstart of the README: how long each
# takes, and how much is fetched and installed. Nothing is left behind.
#
#   TORCH_SPEC  what to hand pip for torch, e.g. "torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work" "$root/build"' EXIT
python=${PYTHON:-$root/.venv/bin/python}

say() { printf '%s\n' "$*"; }
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check --quiet --timeout 60 "$@"; }

timeout 300 "$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$work" .
say "wheel: $(du -m "$work"/worldrl-*.whl | cut -f1) MB"
"$python" -m venv "$work/venv"
began=$SECONDS
# shellcheck disable=SC2086
pip download --dest "$work/fetched" ${TORCH_SPEC:-torch==$(sed -n 's/^torch==//p' constraints.txt)} >/dev/null
# shellcheck disable=SC2086
pip install --no-index --find-links "$work/fetched" torch
pip download --dest "$work/fetched" --find-links "$work/fetched" -c constraints.txt "$work"/worldrl-*.whl >/dev/null
pip install --find-links "$work/fetched" -c constraints.txt "$work"/worldrl-*.whl
say "fetched: $(du -sm "$work/fetched" | cut -f1) MB, installed: $(du -sm "$work/venv" | cut -f1) MB, in $((SECONDS - began)) s"
"$python" - README.md >"$work/quickstart.py" <<'PY'
import re
import sys

print(re.search(r"^```python\n(.*?)^```$", open(sys.argv[1]).read(), re.MULTILINE | re.DOTALL)[1])
PY
began=$SECONDS
(cd "$work" && timeout 900 "$work/venv/bin/python" quickstart.py)
say "quickstart: $((SECONDS - began)) s"
