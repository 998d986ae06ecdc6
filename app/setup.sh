# Set-up shared by ./longshore and ./check: distribution packages, the Python environment, builds.
#
# Sourced, with `root` set to the repository's folder. Everything it writes is under build/ and .venv/, both ignored
# by git. Says what it does on stderr, keeps the details in a log, and shows the log's end when something fails.

runtime_packages=(
  cmake ninja-build g++ pkg-config ccache libcaf-dev liburing-dev nlohmann-json3-dev libcli11-dev
  libexpected-dev libxxhash-dev libprotozero-dev)
check_packages=(
  libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev clang-19 clang-tidy-19 clang-format-19
  libclang-rt-19-dev fuse3 libfuse3-dev python3-venv fio)

say() { printf '%s\n' "$*" >&2; }

# run_logged LOG WHAT COMMAND...: quiet while it works; on a terminal, ninja's step counter shows.
run_logged() {
  local log=$1 what=$2 status=0 line
  shift 2
  mkdir -p "${log%/*}"
  say "longshore: $what"
  if [[ -t 2 ]]; then
    "$@" 2>&1 </dev/null | tee -a "$log" | while IFS= read -r line; do
      if [[ $line == \[*/*\]* ]]; then printf '\r  %s ' "${line%%]*}]" >&2; fi
    done || status=${PIPESTATUS[0]}
    printf '\r\033[K' >&2
  else
    "$@" >>"$log" 2>&1 </dev/null || status=$?
  fi
  if ((status)); then
    tail -n 40 "$log" >&2
    say "longshore: failed: $what (the whole log: $log)"
  fi
  return "$status"
}

install_packages() {
  local -a as_root=()
  if ((EUID)); then
    command -v sudo >/dev/null || return 1
    as_root=(sudo)
  fi
  # A third-party source that cannot be reached must not stop the install: the lists at hand may do.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# ensure_packages PACKAGE...: a stamp that holds the list makes the next call free.
ensure_packages() {
  local stamp=$root/build/packages-$#.stamp wanted="$*" installed package
  local -a missing=()
  [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && return
  if ! command -v apt-get dpkg-query >/dev/null; then
    say "longshore: this set-up knows Debian 12, Ubuntu 24.04 and later. Elsewhere install what these packages hold,"
    say "then build with: cmake --preset release && cmake --build --preset release"
    say "  $wanted"
    return 1
  fi
  installed=" $(dpkg-query -W -f '${Package}=${db:Status-Status} ' "$@" 2>/dev/null || true)"
  for package in "$@"; do
    [[ $installed == *" $package=installed "* ]] || missing+=("$package")
  done
  mkdir -p "$root/build"
  if ((${#missing[@]})) &&
    ! run_logged "$root/build/setup.log" "installing ${missing[*]}" install_packages "${missing[@]}"; then
    say "longshore: install them by hand, as root: apt-get install ${missing[*]}"
    return 1
  fi
  printf '%s' "$wanted" >"$stamp"
}

# ensure_venv REQUIREMENTS_FILE [FOLDER [PYTHON]]: .venv, or the folder, with exactly what the file names.
ensure_venv() {
  # The distribution's own interpreter: the one that python3-venv belongs to.
  local folder=${2:-$root/.venv} python=${3:-/usr/bin/python3} stamp
  stamp=$folder/requirements.stamp
  [[ -f $stamp && $(<"$stamp") == "$(<"$1")" ]] && return
  [[ -x $folder/bin/python ]] || "$python" -m venv "$folder" || return
  "$folder/bin/python" -m pip install --disable-pip-version-check -r "$1" && cp "$1" "$stamp"
}

# configure PRESET OPTION...
configure() { (cd "$root" && cmake --preset "$@"); }

# Without the tests, whose packages only ./check installs; a build folder that ./check has made is used as it is.
build_cli() {
  [[ -f $root/build/release/build.ninja ]] || configure release -DLONGSHORE_TESTS=OFF || return
  cmake --build "$root/build/release" --target longshore_cli
}

# True when a file that the program is made of is newer than the last build. Folders count: files come and go.
cli_is_stale() {
  local stamp=$root/build/release/cli.stamp
  [[ -x $root/build/release/longshore && -f $stamp ]] || return 0
  [[ -n $(find "$root"/{CMakeLists.txt,CMakePresets.json,messages,cache,io,gpu,actors,app/cli} \
    -newer "$stamp" -print -quit) ]]
}

ensure_cli() {
  cli_is_stale || return 0
  mkdir -p "$root/build/release"
  (
    flock 9
    cli_is_stale || exit 0
    touch "$root/build/release/cli.stamp.new" # before the build: an edit during it counts as newer
    rm -f "$root/build/cli.log"
    run_logged "$root/build/cli.log" "building (the first time takes minutes)" build_cli || exit
    mv "$root/build/release/cli.stamp.new" "$root/build/release/cli.stamp"
  ) 9>"$root/build/lock"
}
