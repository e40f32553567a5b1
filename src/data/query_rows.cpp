#include "data/query_rows.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "base/location.hpp"
#include "base/text.hpp"
#include "data/csv_cell.hpp"
#include "data/formats.hpp"

namespace vflbus::data {
namespace {

constexpr std::string_view query_key = "query=";
constexpr std::size_t block_bytes = std::size_t{1} << 20;

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string percent_decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low < 0) {
            out.push_back(text[i] == '+' ? ' ' : text[i]);
            continue;
        }
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
    }
    return out;
}

}  // namespace

Asked split_query(std::string_view location) {
    const std::size_t at = query_mark(location);
    if (at == std::string_view::npos) return {std::string(location), {}};
    const std::string_view query = location.substr(at + 1 + query_key.size());
    const bool plain = query.find_first_of(" \t\n") != std::string_view::npos;
    return {std::string(location.substr(0, at)),
            plain ? std::string(query) : percent_decoded(query)};
}

Deadline::Deadline(std::chrono::duration<double> timeout)
    : end_(std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(timeout)) {}

bool Deadline::over() const {
    return std::chrono::steady_clock::now() >= end_;
}

int Deadline::milliseconds(int most) const {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end_ - std::chrono::steady_clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, most));
}

std::string not_in_time(std::chrono::duration<double> timeout) {
    return "did not answer within " + human_seconds(timeout.count()) + " (source_timeout)";
}

void QueryRows::separate() {
    if (!first_) block_.push_back(',');
    first_ = false;
}

void QueryRows::cell(std::string_view text) {
    separate();
    if (!text.empty() && text.find_first_of(",\"\r\n \t") == std::string_view::npos) {
        block_ += text;
        return;
    }
    append_quoted_cell(block_, text);
}

void QueryRows::missing() {
    separate();
}

Result<> QueryRows::end_row() {
    block_.push_back('\n');
    first_ = true;
    if (block_.size() < block_bytes) return {};
    auto stored = spool_.append(block_.data(), block_.size());
    block_.clear();
    return stored;
}

Result<std::unique_ptr<Source>> QueryRows::open(SourceOptions options, const Place& place) {
    if (auto stored = spool_.append(block_.data(), block_.size()); !stored)
        return tl::unexpected(fault(Errc::io, place, ": " + stored.error().sentence));
    options.format.encoding = Encoding::utf8;
    options.format.separator = ',';
    if (!options.format.decimal) options.format.decimal = '.';
    if (!options.format.thousands) options.format.thousands = '\0';
    std::vector<NamedInput> parts;
    parts.push_back({place.file, spool_.finish()});
    return open_bytes(options, std::move(parts));
}

Result<> take_header(const std::vector<std::string>& names, const Place& place, QueryRows& rows) {
    std::set<std::string> seen;
    for (const std::string& name : names) {
        if (name.empty() || !seen.insert(name).second)
            return tl::unexpected(
                fault(Errc::bad_data, place,
                      name.empty() ? ": a column of its query has no name; give it one with AS"
                                   : ": two columns of its query are called " + shown(name) +
                                         "; give one of them another name with AS",
                      ": columns of its query need names of their own"));
        rows.cell(name);
    }
    return rows.end_row();
}

}  // namespace vflbus::data
