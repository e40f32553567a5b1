#!/bin/sh
# What ./dev says on a machine that lacks something: one sentence with what to do, and its exit code.
# The machine is a PATH of links and of programs that pretend.
set -eu
dev=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bin=$work/bin
mkdir "$bin"
failed=0

for tool in sh tr awk cat sed grep mktemp rm tail head date sleep stat dirname basename ps kill nproc \
    env uname cut wc sort readlink touch mkdir ls mv cp tee; do
    path=$(command -v $tool) || continue
    case $path in /*) ln -s "$path" "$bin/$tool" ;; esac
done

pretend() { # NAME SCRIPT
    printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}

expect() { # CODE TEXT
    code=0
    PATH=$bin TMPDIR=$work "$dev" build </dev/null >"$work/out" 2>&1 || code=$?
    if [ "$code" != "$1" ] || ! grep -q "$2" "$work/out"; then
        printf 'expected exit code %s and "%s", got %s:\n' "$1" "$2" "$code"
        cat "$work/out"
        failed=1
    fi
}

pretend id 'case "$*" in -u) echo 1000;; *) echo somebody;; esac'
pretend dpkg-query 'exit 0' # nothing is installed
pretend apt-get "echo \"\$*\" >>'$work/calls'; [ \"\$1\" = update ] || exit 100"

expect 3 'neither root nor has sudo; as root, run'
grep -q '^apt-get install -y' "$work/out" || { echo "no command to paste"; failed=1; }

pretend sudo 'exit 1'
expect 3 'sudo does not let somebody install them; as root, run'
[ ! -e "$work/calls" ] || { echo "apt was called all the same"; failed=1; }

pretend id 'case "$*" in -u) echo 0;; *) echo root;; esac'
expect 4 'apt could not install'
[ "$(cut -d ' ' -f 1 "$work/calls" | tr '\n' ' ')" = 'install update install ' ] ||
    { echo "stale lists of packages are not fetched again:"; cat "$work/calls"; failed=1; }

# Ctrl-C while packages are installed ends at once and leaves nothing
pretend apt-get "echo \$\$ >'$work/apt'; exec sleep 600"
mkdir "$work/scratch"
PATH=$bin TMPDIR=$work/scratch env --default-signal=INT "$dev" build </dev/null >"$work/out" 2>&1 &
pid=$!
until [ -s "$work/apt" ]; do sleep 0.1; done
kill -INT $pid
code=0
wait $pid || code=$?
[ $code = 130 ] && grep -q "interrupted; './dev build' goes on from here" "$work/out" ||
    { echo "Ctrl-C while packages are installed: exit code $code"; cat "$work/out"; failed=1; }
kill -0 "$(cat "$work/apt")" 2>/dev/null && { echo "apt goes on after Ctrl-C"; failed=1; }
[ -z "$(ls "$work/scratch")" ] || { echo "Ctrl-C leaves:"; ls "$work/scratch"; failed=1; }

# a checkout in which nothing can be written; the file in the way stops root as well
pretend dpkg-query 'shift 2; for name; do echo "$name installed"; done'
mkdir "$work/checkout"
cp "$dev" "$(dirname "$dev")/packages.txt" "$work/checkout"
: >"$work/checkout/build"
there=$dev
dev=$work/checkout/dev
expect 5 'checkout/build cannot be written: copy the sources to a directory of your own'
dev=$there

rm "$bin/dpkg-query" "$bin/apt-get"
expect 3 'this is no Debian; install what corresponds to these Debian packages'

exit $failed
