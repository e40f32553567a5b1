# function_length.awk: prints "FILE:LINE: NAME has N lines" for every function of more than `most`
# lines, from the first line of its signature to its closing brace. Lambdas, and classes within a
# function, count as part of it. Tables (an initializer in braces) are no functions. `exceptions` is
# a file with a line "FILE NAME" for each function that may be longer.
# Usage: awk -v most=70 [-v exceptions=FILE] -f function_length.awk FILE...

BEGIN {
    while (exceptions != "" && (getline line < exceptions) > 0)
        if (line !~ /^[ \t]*(#|$)/) excepted[line] = 1
}

FNR == 1 { depth = 0; outer = 0; head = ""; head_line = 0; comment = 0; raw = "" }

# Takes texts and comments away, so that only the program's own braces are left.
function plain(line,    out, c, two, end) {
    out = ""
    while (line != "") {
        if (comment) {
            end = index(line, "*/")
            if (end == 0) return out
            line = substr(line, end + 2)
            comment = 0
            continue
        }
        if (raw != "") {
            end = index(line, raw)
            if (end == 0) return out
            line = substr(line, end + length(raw))
            raw = ""
            continue
        }
        c = substr(line, 1, 1)
        two = substr(line, 1, 2)
        if (two == "//") return out
        if (two == "/*") {
            comment = 1
            line = substr(line, 3)
        } else if (match(line, /^R"[^(]*\(/)) {
            raw = ")" substr(line, 3, RLENGTH - 3) "\""
            line = substr(line, RLENGTH + 1)
        } else if (c == "\"" && match(line, /^"([^"\\]|\\.)*"/)) {
            line = substr(line, RLENGTH + 1)
        } else if (c == "'" && out !~ /[0-9a-fA-F]$/ && match(line, /^'([^'\\]|\\.[^']*)'/)) {
            line = substr(line, RLENGTH + 1)
        } else {
            out = out c
            line = substr(line, 2)
        }
    }
    return out
}

function name_of(text,    before) {
    before = text
    sub(/\(.*/, "", before)
    sub(/[ \t]+$/, "", before)
    sub(/.*[ \t*&]/, "", before)
    return before == "" ? "a function" : before
}

/^[ \t]*#/ && !comment && raw == "" { next }

{
    text = plain($0)
    if (text ~ /[^ \t]/ && head ~ /^[ \t]*$/) head_line = FNR
    for (i = 1; i <= length(text); ++i) {
        c = substr(text, i, 1)
        if (c == "{") {
            ++depth
            if (!outer && head ~ /\)/ && head !~ /=[ \t]*$/ &&
                head !~ /(^|[^A-Za-z0-9_])(class|struct|union|enum|namespace)[ \t]+[^()]*$/) {
                outer = depth
                begin = head_line
                name = name_of(head)
            }
            if (!outer) { kept = ""; head = "" }
        } else if (c == "}") {
            if (outer == depth) {
                outer = 0
                if (FNR - begin + 1 > most && !((FILENAME " " name) in excepted))
                    printf "%s:%d: %s has %d lines\n", FILENAME, begin, name, FNR - begin + 1
            }
            --depth
            if (!outer) head = ""
        } else if (!outer) {
            if (c == ";") head = ""
            else {
                if (head ~ /^[ \t]*$/ && c != " ") head_line = FNR
                head = head c
            }
        }
    }
    if (!outer) {
        head = head " "
        # a label of a class is no part of what follows
        if (head ~ /^[ \t]*(public|private|protected):[ \t]*$/) head = ""
    }
}
