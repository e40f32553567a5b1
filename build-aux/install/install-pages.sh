#!/bin/sh
# install-pages.sh VFLBUS DATADIR: manual pages, and what shells complete commands with, written by
# the program itself.
set -eu
to=$MESON_INSTALL_DESTDIR_PREFIX/$2
mkdir -p "$to/man/man1" "$to/bash-completion/completions" "$to/zsh/site-functions" \
    "$to/fish/vendor_completions.d"
"$1" manual --out "$to/man/man1"
"$1" completion bash >"$to/bash-completion/completions/vflbus"
"$1" completion zsh >"$to/zsh/site-functions/_vflbus"
"$1" completion fish >"$to/fish/vendor_completions.d/vflbus.fish"
chmod 644 "$to"/man/man1/vflbus*.1
