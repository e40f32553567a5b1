#include "observe/log_files.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <system_error>

#include "base/files.hpp"

namespace vflbus::observe {
namespace {

namespace fs = std::filesystem;

/// The number behind "log." in "log.10000000".
std::optional<std::uint64_t> position_in(const std::string& name, const std::string& log) {
    if (name.size() <= log.size() + 1 || !name.starts_with(log + ".")) return {};
    const char* const begin = name.data() + log.size() + 1;
    const char* const end = name.data() + name.size();
    std::uint64_t position = 0;
    const auto [at, failed] = std::from_chars(begin, end, position);
    if (failed != std::errc{} || at != end) return {};
    return position;
}

std::uint64_t size_of(const fs::path& file) {
    std::error_code ec;
    const std::uint64_t size = fs::file_size(file, ec);
    return ec ? 0 : size;
}

/// At most so many bytes of a file, from a place in it.
std::string part_of(const fs::path& file, std::uint64_t from, std::size_t bytes_max) {
    std::ifstream in(file, std::ios::binary);
    in.seekg(static_cast<std::streamoff>(std::min<std::uint64_t>(from, INT64_MAX)));
    if (!in) return {};
    std::string text(bytes_max, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    return text;
}

/// While a file is put aside there is a moment at which a look finds the old name and a read the
/// new file: then both are done again.
constexpr int looks_most = 4;

}  // namespace

std::vector<LogPiece> log_pieces(const fs::path& file) {
    std::vector<LogPiece> pieces;
    const std::string log = file.filename().string();
    std::error_code ec;
    for (fs::directory_iterator at(file.parent_path(), ec), end; !ec && at != end; at.increment(ec))
        if (const auto position = position_in(at->path().filename().string(), log))
            pieces.push_back({at->path(), *position});
    std::ranges::sort(pieces, {}, &LogPiece::begin);
    const std::uint64_t begin =
        pieces.empty() ? 0 : pieces.back().begin + size_of(pieces.back().file);
    pieces.push_back({file, begin});
    return pieces;
}

Result<> put_log_aside(const fs::path& file, std::uint64_t files_max) {
    std::vector<LogPiece> pieces = log_pieces(file);
    std::error_code ec;
    const fs::path aside = file.string() + "." + std::to_string(pieces.back().begin);
    fs::rename(file, aside, ec);
    if (ec)
        return fail(Errc::io, "cannot rename " + file.string() + " to " + aside.string() + ": " +
                                  ec.message());
    const std::size_t kept = std::max<std::uint64_t>(files_max, 2) - 1;
    for (std::size_t i = 0; i + kept < pieces.size(); ++i) fs::remove(pieces[i].file, ec);
    return {};
}

LogText read_log(const fs::path& file, std::uint64_t from, std::size_t bytes_max) {
    LogText out;
    for (int look = 0; look < looks_most; ++look) {
        const std::vector<LogPiece> pieces = log_pieces(file);
        // the youngest piece that begins at or before the position, else the oldest one
        auto piece = std::find_if(pieces.rbegin(), pieces.rend(),
                                  [from](const LogPiece& p) { return p.begin <= from; });
        const LogPiece& chosen = piece == pieces.rend() ? pieces.front() : *piece;
        out.from = std::max(from, chosen.begin);
        out.text = part_of(chosen.file, out.from - chosen.begin, bytes_max);
        out.more = out.text.size() == bytes_max || chosen.file != file;
        if (log_pieces(file).back().begin == pieces.back().begin) break;
    }
    return out;
}

std::string whole_log(const fs::path& file) {
    std::string text;
    for (const LogPiece& piece : log_pieces(file))
        if (const auto part = read_file(piece.file)) text += *part;
    return text;
}

}  // namespace vflbus::observe
