#!/bin/sh
# test_tidy.sh: every rule of tidy.sh fires on one bad file, and none on a good tree.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

good() {
    rm -rf "$tree"
    mkdir -p "$tree/src/bus/core" "$tree/src/bus/zmq" "$tree/src/bus/wire" "$tree/src/models" \
        "$tree/src/observe" "$tree/src/actors" "$tree/src/config" "$tree/cli" "$tree/tests"
    printf '// why\n\n#pragma once\n#include "base/errc.hpp"\n' >"$tree/src/bus/core/a.hpp"
    printf '#include <zmq.hpp>\n#include <thread>\n' >"$tree/src/bus/zmq/loop.cpp"
    printf '#include <spdlog/spdlog.h>\nstd::snprintf(a);\n' >"$tree/src/observe/log.cpp"
    printf 'std::printf("results"); // TODO: streams once reports no longer fit into memory\n' >"$tree/cli/main.cpp"
    printf '#include <zmq.hpp>\n#include <msgpack.hpp>\nstd::mt19937 g;\n' >"$tree/tests/t.cpp"
}

# expect RULE FILE LINE: FILE with LINE breaks RULE, and the report names the file
expect() {
    good
    mkdir -p "$tree/$(dirname "$2")"
    printf '%b\n' "$3" >>"$tree/$2"
    if report=$(sh "$here/tidy.sh" "$tree"); then
        echo "not found: $2: $3"
        failures=1
    elif ! printf '%s\n' "$report" | grep -qF "$1" || ! printf '%s\n' "$report" | grep -qF "$2"; then
        printf 'wrong report on %s: %s\n%s\n' "$2" "$3" "$report"
        failures=1
    fi
}

good
sh "$here/tidy.sh" "$tree" || { echo "a good tree was refused"; failures=1; }

expect 'never ../' src/models/a.cpp '#include "../base/errc.hpp"'
expect 'never ../' tests/b.cpp '  #  include "x/../y.hpp"'
expect 'ZeroMQ' src/actors/a.cpp '#include <zmq.hpp>'
expect 'ZeroMQ' cli/b.cpp '#include "zmq.h"'
expect 'msgpack is seen' src/bus/wire/codec.cpp '#include <msgpack.hpp>'
expect 'No clocks' src/bus/core/b.cpp 'auto t = std::chrono::steady_clock::now();'
expect 'No clocks' src/models/b.cpp '#include <thread>'
expect 'No clocks' src/bus/core/c.cpp 'random_bytes(out);'
expect 'No clocks' src/bus/core/d.cpp '#include <sys/socket.h>'
expect 'No standard distributions' src/data/a.cpp 'std::uniform_int_distribution<int> d;'
expect 'No standard distributions' src/data/b.cpp 'std::shuffle(a, b, g);'
expect 'do not print' src/data/c.cpp 'std::cerr << 1;'
expect 'do not print' src/data/d.cpp 'std::printf("x");'
expect 'never by a header' src/config/a.hpp '#pragma once\n#include <toml++/toml.h>'
expect 'by one .cpp only' src/config/a.cpp '#include <spdlog/fmt/fmt.h>'
expect '#pragma once' src/data/e.hpp 'int x;'
expect 'one machine' conf/a.toml 'data = "/home/me/a.csv"'
expect 'one machine' docs/a.md 'see /Users/me/src'
expect 'TODO' src/data/f.cpp '// TODO later'
expect 'TODO' docs/b.md 'FIXME: this is a sentence that is long enough'
expect '<coroutine> is included' src/actors/train.cpp '#include <coroutine>'
coroutines='Coroutines keep to the rules'
expect "$coroutines" src/actors/a.cpp 'Task<> f() {\n    co_await run([&] { return 1; });\n}'
expect "$coroutines" src/actors/b.cpp 'Task<> f() {\n    co_await run(1,\n        [this](int a) { return a; }, 2);\n}'
expect "$coroutines" src/actors/c.cpp 'Task<> f() {\n    co_await ask({1, 2});\n}'
expect "$coroutines" src/actors/d.cpp 'Task<> f() {\n    const auto x = co_await Type{1};\n}'
expect "$coroutines" src/actors/e.cpp 'Task<> f() {\n    const auto& [a, b] = co_await pair();\n}'
expect "$coroutines" src/actors/f.cpp 'Task<> f() {\n    const int x = good ? co_await a() : 2;\n}'
expect "$coroutines" src/actors/g.cpp 'void f() {\n    const auto t = [&](int a) -> Task<> { co_await a; };\n}'
expect "$coroutines" src/actors/h.cpp 'void f() {\n    run([] { co_return; });\n}'
expect 'by src/actors/run alone' src/actors/i.cpp 'place_.resume_if_ready();'
expect 'by src/actors/run alone' src/actors/j.cpp 'Task<> task = train(run);'
expect 'by src/actors/run alone' src/actors/k.hpp '#pragma once\nstd::optional<Task<>> task_;'

# A function of 71 lines; what looks like one is not: a table, a class, a name space.
long=$(awk 'BEGIN { for (i = 0; i < 69; ++i) printf "    f();\\n" }')
expect 'at most 70 lines' src/data/g.cpp "int Foo::bar(int a,\n    int b) {\n${long%    f();*}}\nint ok() { return 1; }"
expect 'at most 70 lines' cli/h.hpp "#pragma once\nclass A {\n  public:\n    void g() {\n$long    }\n};"
expect 'at most 70 lines' src/data/h.cpp "const char* text = R\"(\n{{{\n)\";\nint f() {\n    // }}}\n    const char c = '}';\n$long}"
good
mkdir -p "$tree/src/data"
{
    echo 'namespace a {'
    echo 'struct B {'
    printf '%b' "$long"
    echo '    int f() { return 1; }'
    echo '};'
    echo 'const int table[] = {'
    printf '%b' "$long"
    echo '};'
    echo '}'
} >"$tree/src/data/table.cpp"
sh "$here/tidy.sh" "$tree" || { echo "a table was taken for a function"; failures=1; }
exit "$failures"
