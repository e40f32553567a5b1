#include "data/csv_scan.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "data/csv.hpp"

namespace vflbus::data {

InputFile::InputFile(InputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(size_, other.size_);
    std::swap(path_, other.path_);
    return *this;
}

InputFile::~InputFile() {
    if (fd_ >= 0) ::close(fd_);
}

Result<InputFile> InputFile::open(const std::string& path) {
    InputFile file;
    file.path_ = path;
    // O_NONBLOCK: opening a named pipe must not wait for a writer
    file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file.fd_ < 0) return fail(Errc::io, "cannot open " + path + ": " + std::strerror(errno));
    struct stat info{};
    if (::fstat(file.fd_, &info) != 0)
        return fail(Errc::io, "cannot read " + path + ": " + std::strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fail(Errc::io, path + " is not a regular file; give the path of a CSV file");
    file.size_ = static_cast<std::uint64_t>(info.st_size);
    (void)::posix_fadvise(file.fd_, 0, 0, POSIX_FADV_SEQUENTIAL);
    return file;
}

Result<> InputFile::read(std::uint64_t offset, char* out, std::size_t count) const {
    while (count > 0) {
        const ssize_t n = ::pread(fd_, out, count, static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(Errc::io, "cannot read " + path_ + ": " + std::strerror(errno));
        if (n == 0)
            return fail(Errc::io, path_ +
                                      " became shorter while it was read; start again when "
                                      "nobody writes to it");
        offset += static_cast<std::uint64_t>(n);
        out += n;
        count -= static_cast<std::size_t>(n);
    }
    return {};
}

namespace {

/// Cuts lines into records and records into chunks.
class Scanner {
  public:
    Scanner(std::uint64_t offset, CsvLayout& layout) : layout_(layout) {
        record_begin_ = chunk_.begin = offset;
    }

    /// A piece of a line that is followed by a line feed (`ended`) or by the rest of that line.
    /// `next` = offset behind the piece and its line feed.
    void piece(const char* begin, const char* end, bool quotes, bool ended, std::uint64_t next) {
        if (quotes) in_quotes_ ^= (std::count(begin, end, '"') & 1) != 0;
        content_ |= end - begin > 1 || (end != begin && *begin != '\r');
        if (!ended) return;
        ++line_;
        if (!in_quotes_) end_record(next);
    }

    void end_record(std::uint64_t next) {
        if (content_) {
            ++chunk_.rows;
            if (line_ != record_line_ + 1) layout_.one_line_per_row = false;
        } else {
            layout_.one_line_per_row &= !has_header_;
        }
        if (!has_header_) {
            if (content_) {
                chunk_.end = next;
                layout_.header = chunk_;
                has_header_ = true;
                start_chunk(next);
                layout_.one_line_per_row = true;
            }
        } else if (next - chunk_.begin >= csv_chunk_bytes) {
            finish_chunk(next);
        }
        content_ = false;
        record_begin_ = next;
        record_line_ = line_;
    }

    void finish(std::uint64_t end) {
        if (content_) {
            ++line_;
            end_record(end);
        }
        if (has_header_) finish_chunk(end);
    }

    [[nodiscard]] bool has_header() const noexcept { return has_header_; }
    [[nodiscard]] bool in_quotes() const noexcept { return in_quotes_; }
    [[nodiscard]] std::uint64_t record_begin() const noexcept { return record_begin_; }
    [[nodiscard]] std::uint64_t record_line() const noexcept { return record_line_; }

  private:
    void start_chunk(std::uint64_t begin) { chunk_ = {begin, begin, layout_.rows, 0, line_}; }
    void finish_chunk(std::uint64_t end) {
        chunk_.end = end;
        layout_.rows += chunk_.rows;
        if (chunk_.rows > 0) layout_.chunks.push_back(chunk_);
        start_chunk(end);
    }

    CsvLayout& layout_;
    CsvChunk chunk_;
    std::uint64_t line_ = 1;
    std::uint64_t record_line_ = 1;
    std::uint64_t record_begin_ = 0;
    bool in_quotes_ = false;
    bool content_ = false;
    bool has_header_ = false;
};

}  // namespace

Result<CsvLayout> scan_csv(const InputFile& file, const std::string& where, bool header_only) {
    CsvLayout layout;
    std::vector<char> block(std::min<std::uint64_t>(file.size(), 1u << 20));
    std::uint64_t offset = 0;
    if (file.size() >= 3) {
        char mark[3];
        if (auto ok = file.read(0, mark, 3); !ok) return tl::unexpected(ok.error());
        if (std::memcmp(mark, "\xef\xbb\xbf", 3) == 0) offset = 3;
    }
    Scanner scanner(offset, layout);
    while (offset < file.size()) {
        const std::size_t count = std::min<std::uint64_t>(block.size(), file.size() - offset);
        if (auto ok = file.read(offset, block.data(), count); !ok)
            return tl::unexpected(ok.error());
        const char* p = block.data();
        const char* const end = p + count;
        const bool quotes = std::memchr(p, '"', count) != nullptr;
        while (p != end) {
            const auto* feed =
                static_cast<const char*>(std::memchr(p, '\n', static_cast<std::size_t>(end - p)));
            const char* const stop = feed != nullptr ? feed : end;
            const char* const next = feed != nullptr ? feed + 1 : end;
            scanner.piece(p, stop, quotes, feed != nullptr,
                          offset + static_cast<std::uint64_t>(next - block.data()));
            p = next;
        }
        offset += count;
        if (offset - std::min(offset, scanner.record_begin()) > row_bytes_max)
            return fail(Errc::bad_data,
                        where + ", line " + std::to_string(scanner.record_line()) +
                            ": the row that begins here is longer than 64 MiB; look for a quote "
                            "that is never closed");
        if (header_only && scanner.has_header()) return layout;
    }
    if (scanner.in_quotes())
        return fail(Errc::bad_data, where + ", line " + std::to_string(scanner.record_line()) +
                                        ": a quote in the row that begins here is never closed; "
                                        "close it, or double it if it is part of the text");
    scanner.finish(offset);
    if (!scanner.has_header())
        return fail(Errc::bad_data,
                    where + " is empty; its first line must name the columns, separated by commas");
    return layout;
}

}  // namespace vflbus::data
