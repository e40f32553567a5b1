# coroutines.awk: the rules for coroutines of src/actors/run/task.hpp that can be seen in one file.
# Prints "file:line: what is wrong" for each breach. A statement ends at ; { or } outside of
# parentheses; a block that a lambda opens is remembered until it is closed.

function breach(what) { print FILENAME ":" first ": " what }

# A "[" that opens a lambda, and not a subscript: what stands before it is no name, ) or ].
function has_lambda(text) { return text ~ /(^|[^A-Za-z0-9_)\] ]|return|[(,=] *) *\[[^][]*\] *(\(|\{|mutable|->)/ }

function end_of_statement(ender,    waits, control) {
    waits = statement ~ /(^|[^A-Za-z0-9_])co_await([^A-Za-z0-9_]|$)/
    if (statement ~ /(^|[^A-Za-z0-9_])co_(await|return|yield)([^A-Za-z0-9_]|$)/ && lambdas > 0)
        breach("a lambda that is a coroutine itself")
    if (waits) {
        control = statement ~ /^[[:space:]]*(else[[:space:]]+)?(if|for|while|switch)[[:space:]]*(constexpr[[:space:]]*)?\(/
        if (with_lambda || has_lambda(statement)) breach("a lambda in a statement with co_await")
        if (braced || (ender == "{" && !control)) breach("a braced temporary in a statement with co_await")
        if (statement ~ /auto[&[:space:]]*\[/) breach("a structured binding from a co_await")
        if (statement ~ /\?/) breach("a co_await inside ?:")
    }
    statement = ""
    braced = with_lambda = 0
    first = 0
}

function take(c,    opens_lambda) {
    if (first == 0 && c !~ /[[:space:]]/) first = FNR
    if (c == "(") ++round
    if (c == ")" && round > 0) --round
    if (c == "{") {
        opens_lambda = statement ~ /\][[:space:]]*(\([^{}]*\))?[[:space:]]*(mutable|noexcept|->[^{}();]*)*[[:space:]]*$/ && has_lambda(statement "(")
        if (round > 0 && !opens_lambda) { ++inner; braced = 1; statement = statement c; return }
        ++depth
        lambda_at[depth] = opens_lambda
        round_at[depth] = round
        held[depth] = opens_lambda ? statement : ""
        held_first[depth] = first
        if (opens_lambda) ++lambdas
        if (!opens_lambda) end_of_statement("{")
        else { statement = ""; braced = with_lambda = 0 }
        round = 0
        return
    }
    if (c == "}") {
        if (inner > 0) { --inner; statement = statement c; return }
        end_of_statement("}")
        if (depth > 0) {
            round = round_at[depth]
            if (lambda_at[depth]) {
                --lambdas
                statement = held[depth]  # the statement goes on behind the lambda
                with_lambda = 1
                first = held_first[depth]
            }
            --depth
        }
        return
    }
    if (c == ";" && round == 0 && inner == 0) { end_of_statement(";"); return }
    statement = statement c
}

FNR == 1 { statement = ""; round = depth = inner = lambdas = braced = with_lambda = first = in_comment = 0 }
/^[[:space:]]*#/ { next }
{
    line = $0 "\n"
    n = length(line)
    for (i = 1; i <= n; ++i) {
        c = substr(line, i, 1)
        two = substr(line, i, 2)
        if (in_comment) { if (two == "*/") { in_comment = 0; ++i } continue }
        if (two == "//") break
        if (two == "/*") { in_comment = 1; ++i; continue }
        if (c == "\"") {
            while (++i <= n && substr(line, i, 1) != "\"") if (substr(line, i, 1) == "\\") ++i
            take("0")
            continue
        }
        if (c == "'" && substr(line, i - 1, 1) !~ /[0-9A-Za-z_]/) {
            while (++i <= n && substr(line, i, 1) != "'") if (substr(line, i, 1) == "\\") ++i
            take("0")
            continue
        }
        take(c)
    }
}
