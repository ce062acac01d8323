# Shared by the scripts in bin/. Sourced, never run.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ferrokiq
started_at=$SECONDS

# Progress goes to stderr: what a script answers goes to stdout.
say() { printf '[%3ds] %s\n' $((SECONDS - started_at)) "$*" >&2; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root_on_debian() { [ "$(id -u)" = 0 ] && have apt-get && have dpkg; }

# Prints the comment at the head of a script, which is its help.
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}"; }

# Runs a command silently; shows what it said only if it fails.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] || tail -n 30 "$log" >&2
  rm -f "$log"
  return "$status"
}

apt_install() {
  is_root_on_debian || return 1
  say "installing $* with apt"
  export DEBIAN_FRONTEND=noninteractive
  quietly apt-get install -y --no-install-recommends "$@" && return
  quietly apt-get update && quietly apt-get install -y --no-install-recommends "$@"
}
