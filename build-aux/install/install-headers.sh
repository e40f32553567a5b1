#!/bin/sh
# install-headers.sh DIRECTORY: src/<room>/*.hpp to DIRECTORY/<room>/ below the prefix. A script and
# not a list, so that a new header is never forgotten.
set -eu
case $1 in
/*) to=${DESTDIR-}$1 ;;
*) to=$MESON_INSTALL_DESTDIR_PREFIX/$1 ;;
esac
mkdir -p "$to"
install -m 644 "$MESON_SOURCE_ROOT/include/vflbus/app.hpp" "$to/app.hpp"
cd "$MESON_SOURCE_ROOT/src"
find . -name '*.hpp' | sed 's|^\./||' | LC_ALL=C sort | while IFS= read -r header; do
    mkdir -p "$to/$(dirname "$header")"
    install -m 644 "$header" "$to/$header"
done
