#!/bin/sh
# test_install.sh BUILD PREFIX COMPILER...: installs BUILD into a temporary directory, and compiles
# and runs a program there with nothing but what vflbus.pc says.
set -eu
build=$1
prefix=$2
shift 2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
test -x "$root$prefix/bin/vflbus"

# a manual page for each command that the program has, and completions that shells can read
pages=$root$prefix/share/man/man1
grep -q '^\.SH NAME' "$pages/vflbus.1"
for command in launch predict run data model; do
    grep -q "^\.SH SYNOPSIS" "$pages/vflbus-$command.1"
done
completions=$root$prefix/share
bash -n "$completions/bash-completion/completions/vflbus"
grep -q 'predict' "$completions/bash-completion/completions/vflbus"
grep -q '^#compdef vflbus' "$completions/zsh/site-functions/_vflbus"
grep -q '^complete -c vflbus' "$completions/fish/vendor_completions.d/vflbus.fish"

# where pkg-config looks on every Debian
pc=$root$prefix/share/pkgconfig/vflbus.pc
test -f "$pc"
if grep -n "$build" "$pc"; then
    echo "vflbus.pc names the build directory"
    exit 1
fi
export PKG_CONFIG_PATH="${pc%/*}"
flags() { pkg-config --define-variable=prefix="$root$prefix" "$1" vflbus; }

# every installed header on its own flags, in one translation unit
(cd "$root$prefix/include/vflbus" && find . -name '*.hpp' | sed 's|^\./\(.*\)|#include "\1"|' | LC_ALL=C sort) >"$root/all.cpp"
test "$(wc -l <"$root/all.cpp")" -gt 20
# shellcheck disable=SC2046  # lists of words
"$@" $(flags --cflags) -fsyntax-only "$root/all.cpp"

cat >"$root/program.cpp" <<'END'
#include <cstdio>

#include "base/ids.hpp"
#include "observe/log.hpp"
#include "observe/report.hpp"

int main() {
    vflbus::observe::log::set_level(vflbus::observe::log::Level::error);
    vflbus::observe::RunReport report;
    report.status = "completed";
    report.run_id = vflbus::RunId{}.hex();
    const auto back = vflbus::observe::from_json(vflbus::observe::to_json(report));
    std::puts(back && back->status == "completed" && vflbus::node_id_of("a").value != 0 ? "works" : "broken");
}
END
# shellcheck disable=SC2046
"$@" $(flags --cflags) "$root/program.cpp" -o "$root/program" $(flags --libs)
test "$("$root/program")" = works

# an app, with nothing but what vflbus-app.pc says, by the example's own meson.build; the installed
# program takes it
example=$(cd "$(dirname "$0")/../../examples/multi_run" && pwd)
PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_LIBDIR=${pc%/*} \
    meson setup "$root/example" "$example" >"$root/setup.log" || { cat "$root/setup.log"; exit 1; }
ninja -C "$root/example" --quiet
mv "$root/example/client.so" "$root/example/server.so" "$root"
cd "$root"
"$root$prefix/bin/vflbus" launch --local 2 --client client.so --server server.so 2>said || {
    cat said
    exit 1
}
grep -q 'Multi-run example complete!' said
