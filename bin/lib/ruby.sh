# Real Ruby Sidekiq, one per major version. Sourced after common.sh.
#
# Two ways to have it, tried in this order:
#   bundler  Ruby and Bundler are here and a gem source can be reached: the gems of the Gemfile, in the cache
#   chroot   Debian and root: a small root file system made of Debian's own packages, in the cache
# FERROKIQ_RUBY=bundler|chroot insists on one.

# The Debian suite whose ruby-sidekiq is of this major version.
suite_of() {
  case $1 in
    6) echo bookworm ;;
    7) echo trixie ;;
    8) echo forky ;;
    *) die "there is no Sidekiq $1 here: 6, 7 or 8" ;;
  esac
}

packages_of() {
  local packages=ruby,ruby-sidekiq,puma,ruby-rack,ruby-rack-test,ruby-minitest,redis-server
  packages=$packages,ruby-railties,ruby-activerecord,ruby-activejob,ruby-actionmailer,ruby-sqlite3
  case $1 in
    # GitLab's fetcher is a neighbour in the compat suite.
    6) packages=$packages,ruby-gitlab-sidekiq-fetcher ;;
    *) packages=$packages,ruby-rackup,ruby-rack-session,valkey-server ;;
  esac
  echo "$packages"
}

# The number at the end changes with the list of packages.
chroot_of() {
  local number=3
  [ "$1" != 6 ] || number=4
  printf '%s/roots/%s-%s\n' "$cache" "$(suite_of "$1")" "$number"
}
bundle_of() { printf '%s/bundle/%s\n' "$cache" "$1"; }

# How Ruby is had for this major version; empty if it is not (yet).
ruby_mode() {
  if [ "${FERROKIQ_RUBY:-bundler}" = bundler ] && [ -e "$(bundle_of "$1")/.ready" ]; then
    echo bundler
  elif [ "${FERROKIQ_RUBY:-chroot}" = chroot ] && [ -e "$(chroot_of "$1")/.ready" ]; then
    echo chroot
  fi
}

ensure_ruby() {
  local major=$1
  [ -z "$(ruby_mode "$major")" ] || return 0
  mkdir -p "$cache"
  # Whoever comes second waits for the first and finds everything made.
  exec 9>"$cache/.lock"
  flock 9
  if [ -z "$(ruby_mode "$major")" ]; then
    make_bundle "$major" || make_chroot "$major" || die "cannot get Ruby Sidekiq $major.
Install Ruby >= 3.2 with Bundler where a gem source can be reached, or run this as root on Debian."
  fi
  exec 9>&-
}

make_bundle() {
  [ "${FERROKIQ_RUBY:-bundler}" = bundler ] || return 1
  have ruby && have bundle || return 1
  ruby -e 'exit(RUBY_VERSION >= "3.2" || (ARGV[0] == "6" && RUBY_VERSION >= "2.7"))' "$1" || return 1
  local dir
  dir=$(bundle_of "$1")
  say "installing the gems of Sidekiq $1 into $dir"
  mkdir -p "$dir"
  cp "$root/Gemfile" "$dir/Gemfile"
  (
    cd "$dir"
    export SIDEKIQ_VERSION=$1 BUNDLE_GEMFILE=$dir/Gemfile BUNDLE_PATH=$dir/gems
    quietly timeout 300 bundle install --retry 1
  ) && touch "$dir/.ready"
}

# The Debian mirror this system itself uses.
debian_mirror() {
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1
}

make_chroot() {
  [ "${FERROKIQ_RUBY:-chroot}" = chroot ] && is_root_on_debian || return 1
  have debootstrap || apt_install debootstrap || return 1
  local suite dir half script keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  suite=$(suite_of "$1")
  dir=$(chroot_of "$1")
  half=$(mktemp -d "$cache/half.XXXXXX")
  # An older debootstrap does not know a newer suite by name; all of them are made alike.
  script=$suite
  [ -e "/usr/share/debootstrap/scripts/$suite" ] || script=sid
  say "making a root file system with Sidekiq $1 of Debian $suite (about a minute)"
  if ! quietly debootstrap --variant=minbase --keyring="$keyring" --include="$(packages_of "$1")" \
    "$suite" "$half" "$(debian_mirror)" "$script"; then
    rm -rf --one-file-system "$half"
    return 1
  fi
  rm -rf "$half"/var/cache/apt/archives/*.deb "$half"/var/lib/apt/lists/* "$half"/usr/share/doc/*
  touch "$half/.ready"
  # Made whole or not at all.
  mkdir -p "$(dirname "$dir")"
  chmod 755 "$half"
  rm -rf --one-file-system "$dir"
  mv "$half" "$dir"
}

# Becomes a command with Ruby Sidekiq at hand. The process keeps its id all the way, so a signal reaches the command.
exec_ruby() {
  local major=$1
  shift
  case $(ruby_mode "$major") in
    bundler)
      local dir
      dir=$(bundle_of "$major")
      export SIDEKIQ_VERSION=$major BUNDLE_GEMFILE=$dir/Gemfile BUNDLE_PATH=$dir/gems
      exec bundle exec "$@"
      ;;
    chroot)
      local target
      target=$(target_dir)
      mkdir -p "$target"
      # Mounts live in a name space of the process's own: nothing is left when it ends.
      exec unshare --mount --propagation private "$root/bin/lib/enter-chroot" "$(chroot_of "$major")" \
        "$root" "$target" "$cache" "$PWD" "$@"
      ;;
    *) die "there is no Ruby Sidekiq $major: run bin/setup --sidekiq $major" ;;
  esac
}
