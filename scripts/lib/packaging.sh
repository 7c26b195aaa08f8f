# How artifacts come out byte for byte the same, wherever and whenever they are built. Sourced, never run.
# shellcheck shell=bash

# Everything that may leak into an archive is fixed: time, zone, locale, file modes. The epoch is the earliest a zip
# can hold and not the commit's date, so that a file no commit has touched keeps its bytes and its sha256.
export SOURCE_DATE_EPOCH=315532800 TZ=UTC LC_ALL=C PYTHONDONTWRITEBYTECODE=1
umask 022

# A checkout under another umask has other modes; git itself knows only "executable".
# Arguments: source folder, target folder (made here).
copy_tree() {
  mkdir -p "$2"
  cp -R "$1/." "$2"
  find "$2" \( -name __pycache__ -o -name '*.egg-info' -o -name .pytest_cache \) -prune -exec rm -rf {} +
  find "$2" -name '*.pyc' -delete
  chmod -R u=rwX,go=rX "$2"
}

# Puts hash-locked packages beside the code, as wheels for the functions' platform (arm64).
# Arguments: requirements file (may hold none), target folder.
install_requirements() {
  local requirements="$1" target="$2"
  grep -qE '^[^#[:space:]]' "$requirements" || return 0
  uv pip install --quiet --require-hashes --only-binary :all: --link-mode copy \
    --python "$REPOSITORY/.venv/lambda/bin/python" --python-platform aarch64-manylinux2014 \
    --target "$target" --requirement "$requirements"
  # Records of this very installation: they vary and nothing reads them at run time.
  find "$target" -path '*.dist-info/*' \
    \( -name RECORD -o -name INSTALLER -o -name REQUESTED -o -name direct_url.json -o -name uv_cache.json \) -delete
  rm -rf "${target:?}/bin" "${target:?}/.lock"
}

# Arguments: what it is, its bytes, the most it may have.
check_size() {
  local what="$1" bytes="$2" limit="$3"
  ((bytes <= limit)) || die "$what is $bytes bytes; the limit is $limit. Look for a heavy dependency or a stray file."
}

# Arguments: folder.  Outputs: the bytes of its files.
tree_bytes() {
  find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'
}
