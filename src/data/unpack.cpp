#include "data/unpack.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/text.hpp"

namespace vflbus::data {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t out_bytes = std::size_t{256} << 10;

Failure damaged(std::string_view kind) {
    return {Errc::bad_data, " is a damaged " + std::string(kind) + " file"};
}

Failure cut_off(std::string_view kind) {
    return {Errc::bad_data,
            " is cut off: the " + std::string(kind) + " file ends before its data does"};
}

/// Inflates the members of a gzip file one after another.
class Gzip {
  public:
    Gzip() {
        constexpr int gzip_only = 15 + 16;
        good_ = ::inflateInit2(&stream_, gzip_only) == Z_OK;
    }
    Gzip(const Gzip&) = delete;
    Gzip& operator=(const Gzip&) = delete;
    ~Gzip() { ::inflateEnd(&stream_); }

    Result<> add(const char* data, std::size_t count) {
        if (!good_) return tl::unexpected(damaged("gzip"));
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
        stream_.avail_in = static_cast<uInt>(count);
        while (stream_.avail_in > 0) {
            // zeros behind the last member are padding of a tape or a block device
            if (ended_ && *stream_.next_in == 0) return {};
            if (ended_) ::inflateReset(&stream_);
            ended_ = false;
            if (auto ok = inflate(); !ok) return ok;
        }
        return {};
    }

    Result<Input> finish() {
        if (!ended_) return tl::unexpected(cut_off("gzip"));
        return spool_.finish();
    }

  private:
    Result<> inflate() {
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(out_.data());
            stream_.avail_out = static_cast<uInt>(out_.size());
            const int code = ::inflate(&stream_, Z_NO_FLUSH);
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
                return tl::unexpected(damaged("gzip"));
            if (auto ok = spool_.append(out_.data(), out_.size() - stream_.avail_out); !ok)
                return ok;
            ended_ = code == Z_STREAM_END;
        } while (stream_.avail_out == 0 && !ended_);
        return {};
    }

    z_stream stream_{};
    bool good_ = false;
    bool ended_ = false;  ///< at the end of a member
    std::vector<char> out_ = std::vector<char>(out_bytes);
    Spool spool_;
};

class Zstd {
  public:
    Result<> add(const char* data, std::size_t count) {
        if (!context_) return tl::unexpected(damaged("zstd"));
        ZSTD_inBuffer in{data, count, 0};
        // a full output buffer may leave something inside the decoder
        bool full = false;
        while (in.pos < in.size || full) {
            ZSTD_outBuffer out{out_.data(), out_.size(), 0};
            const std::size_t left = ZSTD_decompressStream(context_.get(), &out, &in);
            if (ZSTD_isError(left) != 0) return tl::unexpected(damaged("zstd"));
            if (auto ok = spool_.append(out_.data(), out.pos); !ok) return ok;
            ended_ = left == 0;
            full = out.pos == out.size;
        }
        return {};
    }

    Result<Input> finish() {
        if (!ended_) return tl::unexpected(cut_off("zstd"));
        return spool_.finish();
    }

  private:
    struct Free {
        void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
    };
    std::unique_ptr<ZSTD_DCtx, Free> context_{ZSTD_createDCtx()};
    bool ended_ = false;  ///< at the end of a frame
    std::vector<char> out_ = std::vector<char>(out_bytes);
    Spool spool_;
};

template <class Unpacker>
Result<Input> unpack_with(const Input& input) {
    Unpacker unpacker;
    const auto ok = for_each_block(
        input, [&](const char* data, std::size_t count) { return unpacker.add(data, count); });
    if (!ok) return tl::unexpected(ok.error());
    return unpacker.finish();
}

}  // namespace

Packing packing_of(std::string_view head) noexcept {
    if (head.starts_with("\x1f\x8b")) return Packing::gzip;
    if (head.starts_with("\x28\xb5\x2f\xfd")) return Packing::zstd;
    return Packing::none;
}

Result<Input> unpack(const Input& input, Packing packing) {
    return packing == Packing::gzip ? unpack_with<Gzip>(input) : unpack_with<Zstd>(input);
}

// -- what is no table -----------------------------------------------------------------

namespace {

/// A kind of file by its first bytes.
struct FileKind {
    std::string_view magic;
    std::string_view what;    ///< "is a Parquet file"
    std::string_view advice;  ///< FILE stands for the file
};

constexpr std::string_view by_pandas_parquet =
    "read it through a command: exec:duckdb -csv -c \"from 'FILE'\", or exec:python3 -c \"import "
    "pandas, sys; pandas.read_parquet('FILE').to_csv(sys.stdout, index=False)\"";
constexpr std::string_view by_spreadsheet =
    "save the sheet as CSV, or read it through a command: exec:xlsx2csv FILE, or exec:ssconvert "
    "-T Gnumeric_stf:stf_csv FILE fd://1";

constexpr FileKind file_kinds[] = {
    {"PAR1"sv, "is a Parquet file", by_pandas_parquet},
    {"PK\x03\x04"sv, "is a zip file, as Excel and LibreOffice write them", by_spreadsheet},
    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"sv, "is an Excel file of the old kind (xls)",
     by_spreadsheet},
    {"ARROW1"sv, "is an Arrow or Feather file",
     "read it through a command: exec:python3 -c \"import pandas, sys; "
     "pandas.read_feather('FILE').to_csv(sys.stdout, index=False)\""},
    {"SQLite format 3\0"sv, "is an SQLite database",
     "ask it a query: sqlite:FILE?query=select * from NAME"},
    {"\x89HDF\r\n"sv, "is an HDF5 file", "save the table as CSV, or read it by exec: and a script"},
    {"Obj\x01"sv, "is an Avro file", "read it through a command: exec:duckdb -csv -c ..."},
    {"ORC"sv, "is an ORC file", "read it through a command: exec:duckdb -csv -c ..."},
    {"\x80\x03"sv, "is a pickle of Python",
     "save the table as CSV: frame.to_csv(..., index=False)"},
    {"\x80\x04"sv, "is a pickle of Python",
     "save the table as CSV: frame.to_csv(..., index=False)"},
    {"\x80\x05"sv, "is a pickle of Python",
     "save the table as CSV: frame.to_csv(..., index=False)"},
    {"RDX2\n"sv, "is a workspace of R", "save the table as CSV: write.csv(..., row.names = FALSE)"},
    {"RDX3\n"sv, "is a workspace of R", "save the table as CSV: write.csv(..., row.names = FALSE)"},
    {"BZh"sv, "is packed with bzip2", "read it through a command: exec:bzcat FILE"},
    {"\xfd"
     "7zXZ\0"sv,
     "is packed with xz", "read it through a command: exec:xzcat FILE"},
    {"7z\xbc\xaf\x27\x1c"sv, "is a 7z archive", "unpack it first"},
    {"$FL2"sv, "is an SPSS file", "save the table as CSV"},
    {"<stata_dta>"sv, "is a Stata file", "save the table as CSV: export delimited"},
    {"%PDF"sv, "is a PDF", "save the table as CSV"},
    {"version https://git-lfs.github.com"sv, "is a pointer of Git LFS, not the file itself",
     "fetch it: git lfs pull"},
    {"<!DOCTYPE"sv, "is a web page, not a table", "was the download refused? Look into the file"},
    {"<!doctype"sv, "is a web page, not a table", "was the download refused? Look into the file"},
    {"<html"sv, "is a web page, not a table", "was the download refused? Look into the file"},
    {"<?xml"sv, "is XML, not a table", "save the table as CSV"},
    {"{\""sv, "is JSON, not a table",
     "read it through a command: exec:python3 -c \"import pandas, sys; pandas.read_json('FILE', "
     "lines=True).to_csv(sys.stdout, index=False)\""},
    {"[{"sv, "is JSON, not a table",
     "read it through a command: exec:python3 -c \"import pandas, sys; "
     "pandas.read_json('FILE').to_csv(sys.stdout, index=False)\""},
};

std::string with_file(std::string_view advice, std::string_view file) {
    std::string text;
    for (std::size_t at = 0;;) {
        const std::size_t found = advice.find("FILE", at);
        text += advice.substr(at, found - at);
        if (found == std::string_view::npos) return text;
        text += printable(file);
        at = found + 4;
    }
}

}  // namespace

std::string why_no_table(std::string_view head, std::string_view file) {
    const std::string_view from_first_sign = trim(head);
    for (const FileKind& kind : file_kinds)
        if (head.starts_with(kind.magic) ||
            (kind.magic.front() >= ' ' && kind.magic.front() < '\x7f' &&
             std::string_view("<{[").find(kind.magic.front()) != std::string_view::npos &&
             from_first_sign.starts_with(kind.magic)))
            return " " + std::string(kind.what) + "; " + with_file(kind.advice, file);
    return {};
}

}  // namespace vflbus::data
