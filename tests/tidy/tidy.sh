#!/bin/sh
# tidy.sh ROOT: the rules of the tree that no compiler checks. One line per breach: file:line: text,
# below the rule that it breaks. Exit code 1 when there is one.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$1" || exit 2

# Tracked files and those that are about to be; without git, everything outside build directories.
all=$(git ls-files -co --exclude-standard 2>/dev/null)
[ -n "$all" ] || all=$(find . \( -name .git -o -name build -o -name 'build-[!a]*' -o -name build-asan -o -name runs \) -prune \
    -o -type f -print | sed 's|^\./||')
all=$(printf '%s\n' "$all" | grep -v '^tests/tidy/' | while IFS= read -r file; do [ -f "$file" ] && echo "$file"; done)

# files PATTERN [EXCEPT]: paths that match one extended regular expression and not the other
files() { printf '%s\n' "$all" | grep -E "$1" | grep -vE "${2:-^$}"; }

# breach RULE LINES: LINES are the places, none when empty
breach() {
    [ -z "$2" ] && return 0
    printf '%s\n%s\n\n' "$1" "$2"
}

# forbid RULE PATTERN: in the files named on standard input
forbid() { breach "$1" "$(tr '\n' '\0' | xargs -0 -r grep -nHIE -e "$2" /dev/null)"; }

code='\.[ch]pp$'
header='^[[:space:]]*#[[:space:]]*include[[:space:]]*'

rules() {
    files "$code" | forbid 'Includes name the room, never ../' "$header[\"<][^\">]*\.\./"

    files '^(src|cli)/.*\.[ch]pp$' '^src/bus/zmq/' |
        forbid 'ZeroMQ is seen by src/bus/zmq alone' "$header[<\"]zmq"

    # src/bus/wire/codec.cpp decodes within its limits; the library is what tests compare it with
    files '^(src|cli)/.*\.[ch]pp$' |
        forbid 'msgpack is seen by tests alone' "$header[<\"]msgpack"

    # State machines and arithmetic take an event and a time; only loops read clocks or wait.
    files '^src/(bus/core|bus/wire|models)/.*\.[ch]pp$' |
        forbid 'No clocks, random devices, threads or sockets in src/bus/core, src/bus/wire and src/models' \
            "_clock::now|clock_gettime|gettimeofday|std::time\(|random_(bytes|u64|run_id|device)|std::(thread|jthread|async|mutex|condition_variable)|$header<(thread|mutex|future|condition_variable|random|sys/socket\.h|poll\.h|sys/time\.h|time\.h|ctime)>"

    # Results must be the same on every machine and standard library.
    files '^src/.*\.[ch]pp$' |
        forbid 'No standard distributions, shuffles or random devices: base/rng.hpp' \
            'std::([a-z_]+_distribution|shuffle|random_device|mt19937|rand)\b'

    # ... and those of libm differ between systems in the last bit, so that a model would.
    files '^src/(models|actors/training)/.*\.[ch]pp$' |
        forbid 'No functions of libm in what makes a model: models/math.hpp' \
            'std::(exp2?|expm1|log|log2|log10|log1p|pow|sinh?|cosh?|tanh?|cbrt|erf|[lt]gamma|hypot)\('

    files '^src/.*\.[ch]pp$' '^src/(observe/console\.cpp|base/assert\.hpp)$' |
        forbid 'Libraries do not print' \
            'std::(cout|cerr|clog)\b|(^|[^a-z_])(printf|puts|putchar|perror|fputs)\(|fprintf\((stderr|stdout)'

    # g++ 12 destroys the captures of lambda temporaries in a statement with co_await twice, newer ones leak
    # what a structured binding is made from: src/actors/run/task.hpp says what is allowed.
    files '^(src|cli|tests|bench)/.*\.[ch]pp$' '^src/actors/run/task\.hpp$' |
        forbid '<coroutine> is included by src/actors/run/task.hpp alone' "$header<coroutine>"
    breach 'Coroutines keep to the rules of src/actors/run/task.hpp' "$(files "$code" '^src/actors/run/task\.hpp$' | tr '\n' '\0' |
        xargs -0 -r grep -lE 'co_(await|return|yield)' /dev/null | while IFS= read -r file; do awk -f "$here/coroutines.awk" "$file"; done)"
    files '^(src|cli)/.*\.[ch]pp$' '^src/actors/run/' |
        forbid 'Tasks are started, resumed and destroyed by src/actors/run alone' 'coroutine_handle|resume_if_ready|Task<[^;()]*> [a-z_]+ ?[;={]'

    # It returns a pair of references, which dangle where its arguments are values.
    files "$code" | forbid 'std::minmax of two values is std::minmax({a, b})' \
        'auto \[[a-z_, ]+\] = std::minmax\([^{]'

    # A heavy header costs seconds wherever it is seen (docs/hacking.md).
    # The files of cli/arguments are compiled as one, so that CLI11 is read once.
    files '^(src|cli)/.*\.hpp$' | grep -v '^cli/arguments/command_line\.hpp$' |
        forbid 'Heavy headers are included by a .cpp, never by a header' \
            "$header<(spdlog/|nlohmann/json\.hpp|toml\+\+/|CLI/|msgpack)"
    for heavy in 'nlohmann/' 'spdlog/' 'toml\+\+/' 'CLI/'; do
        seen=$(files '^(src|cli)/.*\.cpp$' | tr '\n' '\0' | xargs -0 -r grep -lE "$header<$heavy" /dev/null)
        [ "$(printf '%s\n' "$seen" | grep -c .)" -le 1 ] ||
            breach "<$heavy...> is included by one .cpp only" "$seen"
    done

    # A function that cannot be seen whole is read in pieces, and changed without being understood.
    breach 'A function has at most 70 lines (tables may be longer: tests/tidy/long_functions)' \
        "$(files '^(src|cli)/.*\.[ch]pp$' | tr '\n' '\0' |
            xargs -0 -r awk -v most=70 -v exceptions="$here/long_functions" -f "$here/function_length.awk")"

    # *_impl.hpp are meant to be compiled several times over
    breach 'A header begins with #pragma once' "$(files '^(src|cli|tests|bench)/.*\.hpp$' '_impl\.hpp$' |
        while IFS= read -r file; do [ "$(grep -vE '^[[:space:]]*(//.*)?$' "$file" | head -1)" = '#pragma once' ] || echo "$file"; done)"

    files . | forbid 'No paths of one machine' '(^|[^A-Za-z0-9_.])/(work|home|root|Users)/[A-Za-z0-9_]'

    breach 'A TODO says why it is left ("TODO: " and a sentence)' "$(files '\.([ch]pp|py|sh|toml|md|build)$|^dev$' |
        tr '\n' '\0' | xargs -0 -r grep -nHwE 'TODO|FIXME|XXX|HACK' /dev/null | grep -vE 'TODO: .{20,}')"

}

report=$(rules)
[ -z "$report" ] || { printf '%s\n' "$report"; exit 1; }
