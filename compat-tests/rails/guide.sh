#!/usr/bin/env bash
# compat-tests/rails/guide.sh GUIDE
#
# Follows a guide word for word, in a directory with a Rails app (shop/) and this checkout (ferrokiq/), against a Redis of its own:
#   - a block after a line that ends with `PATH`: is that file
#   - a block of sh is run and must succeed; after a line that ends with "in a terminal of its own:" it goes on beside the rest
#   - a block of text is what the command before it says, sooner or later
# Ends with `N passed, N failed`; the first failure ends it.

. "$(dirname "$0")/../../bin/lib/common.sh"

[ $# = 1 ] || die "which guide?"
guide=$(realpath "$1")
# Always the same place for a checkout: Cargo finds what it built last time. Outside the checkout, as a shop's is: `cargo new` adds a crate inside
# to the workspace.
work=/tmp/ferrokiq-guide-$(printf '%s' "$root" | cksum | cut -d ' ' -f 1)
passed=0 redis=
running=()

# Only what was started here, each with all that it started.
clean_up() {
  local group
  for group in "${running[@]}"; do kill -KILL -- "-$group" 2>/dev/null || true; done
  [ -z "$redis" ] || kill -KILL "$redis"
}
trap clean_up EXIT

rm -rf "$work/shop" "$work/shop-worker" "$work/bin" "$work/data"
mkdir -p "$work/bin" "$work/data"
cp -r "$root/ruby-fixtures/rails_app" "$work/shop"
rm -rf "$work/shop/storage"
ln -sfn "$root" "$work/ferrokiq"
# Ruby is where bin/setup put it.
cat >"$work/bin/bundle" <<SHIM
#!/usr/bin/env bash
# bundle exec PROGRAM ARGUMENTS...
PATH=\${PATH#"$work/bin:"}
case \$2 in
  rails) exec "$root/bin/lib/in-ruby" --sidekiq 8 -- ruby bin/rails "\${@:3}" ;;
  *) exec "$root/bin/lib/in-ruby" --sidekiq 8 -- ruby -S "\${@:2}" ;;
esac
SHIM
chmod +x "$work/bin/bundle"

# A socket: no port has to be free.
redis-server --port 0 --unixsocket "$work/data/redis.sock" --save "" --dir "$work/data" >"$work/data/redis.log" &
redis=$!

CARGO_TARGET_DIR=$(realpath "$(target_dir)")
export CARGO_TARGET_DIR CARGO_NET_OFFLINE=true
# The dependencies as this checkout has built them.
export CARGO_PROFILE_DEV_DEBUG=line-tables-only
export PATH=$work/bin:$PATH REDIS_URL=unix://$work/data/redis.sock SHOP_DATA=$work/data SECRET_KEY_BASE=$(printf 'no secret %.0s' {1..8})

failed() {
  printf 'FAILED: %s:%s: %s\n' "$(basename "$guide")" "$1" "$2" >&2
  tail -n 30 "$work"/data/said.* >&2
  echo "$passed passed, 1 failed"
  exit 1
}

run() { (cd "$work" && bash -euo pipefail -c "$1") >"$work/data/said.command" 2>&1; }

# In a process group of its own.
begin() {
  set -m
  (cd "$work" && exec bash -euo pipefail -c "$1") >"$work/data/said.${#running[@]}" 2>&1 </dev/null &
  running+=($!)
  set +m
}

says() {
  local line
  while IFS= read -r line; do
    grep -qxF -- "$line" "$work/data/said.command" || return 1
  done <<<"$1"
}

eventually_says() {
  local deadline=$((SECONDS + 40))
  until says "$2"; do
    [ $SECONDS -lt $deadline ] || return 1
    run "$1" || return 1
  done
}

# block LINE LANGUAGE WORDS-BEFORE BODY
block() {
  local at=$1 language=$2 before=$3 body=$4
  if [[ $before =~ \`([^\`]+)\`:$ ]]; then
    mkdir -p "$(dirname "$work/${BASH_REMATCH[1]}")"
    printf '%s\n' "$body" >"$work/${BASH_REMATCH[1]}"
    [[ ${BASH_REMATCH[1]} != */Cargo.toml ]] || cp "$root/Cargo.lock" "$(dirname "$work/${BASH_REMATCH[1]}")"
    return
  fi
  case $language in
    sh)
      command=$body
      if [[ $before == *" terminal of its own:" ]]; then begin "$body"; else run "$body" || failed "$at" "$body"; fi
      ;;
    text) eventually_says "$command" "$body" || failed "$at" "$command"$'\n'"does not come to say"$'\n'"$body" ;;
    *) failed "$at" "a block that is neither a file, a command, nor what one says" ;;
  esac
  passed=$((passed + 1))
}

number=0 opened=0 language='' before='' body='' command=''
while IFS= read -r line; do
  number=$((number + 1))
  if [[ $opened = 0 && $line == '```'* ]]; then
    opened=$number language=${line#'```'} body=''
  elif [[ $opened != 0 && $line == '```' ]]; then
    block "$opened" "$language" "$before" "${body%$'\n'}"
    opened=0 before=''
  elif [ $opened != 0 ]; then
    body+=$line$'\n'
  elif [ -n "$line" ]; then
    before=$line
  fi
done <"$guide"

[ $passed -gt 0 ] || failed 1 "no step"
echo "$passed passed, 0 failed"
