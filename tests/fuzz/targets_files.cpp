// Tables, configurations, policies and audit logs: what people hand over.

#include <stdlib.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/files.hpp"
#include "config/agreed.hpp"
#include "config/config.hpp"
#include "config/value.hpp"
#include "data/formats.hpp"
#include "data/png.hpp"
#include "data/source.hpp"
#include "observe/audit.hpp"
#include "policy/policy.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_files {
namespace {

// -- tables ------------------------------------------------------------------------------------

/// The ways of asking for a table; the first byte of an input chooses one.
data::TableRequest request_of(std::size_t kind) {
    data::TableRequest request;
    if (kind % 2 == 1) request.id = data::row_number_id;
    if (kind % 3 == 1) request.labels = {"y"};
    if (kind % 5 == 1) request.skip_missing_ids = request.skip_missing_labels = true;
    return request;
}

bool try_table(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 30);
    data::SourceOptions options;
    options.threads = 1;
    auto source =
        data::open_bytes(options, {{"table", data::Input::of_bytes(std::string(text_of(body)))}});
    if (!source) return false;
    std::uint64_t rows = 0;
    const bool counted =
        (*source)->for_each_row([&](std::span<const std::string_view>) { ++rows; }).has_value();
    const auto table = (*source)->read(request_of(kind));
    if (!table) {
        require(!table.error().sentence.empty(), "a table is refused without a reason");
        return false;
    }
    // (where rows are numbered, lines of separators alone are rows too)
    require(!counted || kind % 2 == 1 || table->rows() <= rows,
            "a table has more rows than its source");
    return true;
}

std::vector<Bytes> table_seeds() {
    return {
        seed(0, "id,a,b\n1,2.5,x\n2,3.5,y\n"),
        seed(4, "id;a;y\r\n1;2,5;yes\r\n2;3,5;no\r\n"),
        seed(3, "a\tb\n1\t2\n3\t4\n"),
        seed(0, "sep=;\nid;a\n1;\"x;\"\"y\"\n"),
        seed(6, "\xEF\xBB\xBFid,a,b\n1,2020-01-02,12 %\n2,2021-01-02,\n"),
        seed(3, "1 1:.5 7:2\n-1 2:.25\n"),
        seed(0, std::string_view("\xFF\xFEi\0d\0,\0a\0\n\0001\0,\0002\0\n\0", 20)),
    };
}

// -- pictures ----------------------------------------------------------------------------------

std::uint32_t big_endian(std::span<const std::uint8_t> bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
           std::uint32_t{bytes[2]} << 8 | bytes[3];
}
void put_big_endian(std::uint32_t value, std::span<std::uint8_t> out) {
    for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

/// The same file with the checksums that its chunks should have: nothing would come further than to
/// a wrong one.
Bytes with_checksums(std::span<const std::uint8_t> file) {
    Bytes out(file.begin(), file.end());
    for (std::size_t at = 8; at + 12 <= out.size();) {
        const std::size_t length = big_endian(std::span(out).subspan(at, 4));
        if (length > out.size() - at - 12) break;
        const auto sum = ::crc32(0, out.data() + at + 4, static_cast<uInt>(length + 4));
        put_big_endian(static_cast<std::uint32_t>(sum), std::span(out).subspan(at + 8 + length, 4));
        at += 12 + length;
    }
    return out;
}

void add_chunk(std::string_view type, std::span<const std::uint8_t> content, Bytes& out) {
    const std::size_t at = out.size();
    out.resize(at + 4);
    put_big_endian(static_cast<std::uint32_t>(content.size()), std::span(out).subspan(at, 4));
    out.insert(out.end(), type.begin(), type.end());
    out.insert(out.end(), content.begin(), content.end());
    out.resize(out.size() + 4);
}

/// A file of the 13 bytes of a header, one that says how many of the next are a palette, and its
/// rows, which are packed here.
Bytes packed_picture(std::span<const std::uint8_t> parts) {
    constexpr std::size_t header = 13;
    Bytes whole(parts.begin(), parts.end());
    whole.resize(std::max(whole.size(), header + 1));
    const std::span<const std::uint8_t> all(whole);
    const std::size_t palette = std::min<std::size_t>(3 * all[header], all.size() - header - 1);
    const auto rows = all.subspan(header + 1 + palette);
    Bytes packed(::compressBound(rows.size()));
    uLongf bytes = packed.size();
    require(::compress2(packed.data(), &bytes, rows.data(), rows.size(), 1) == Z_OK,
            "rows can be packed");
    packed.resize(bytes);
    Bytes out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    add_chunk("IHDR", all.first(header), out);
    if (palette > 0) add_chunk("PLTE", all.subspan(header + 1, palette), out);
    add_chunk("IDAT", packed, out);
    add_chunk("IEND", {}, out);
    return with_checksums(out);
}

/// A picture that is read has the pixels that its size says, no more than its bytes can hold, and
/// what stands behind its end changes nothing.
bool try_picture(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 3);
    Bytes file = kind == 0   ? Bytes(body.begin(), body.end())
                 : kind == 1 ? with_checksums(body)
                             : packed_picture(body);
    const auto picture = data::decode_png(text_of(file));
    if (!picture) {
        require(!picture.error().sentence.empty(), "a picture is refused without a reason");
        return false;
    }
    require(picture->channels == 1 || picture->channels == 3, "a pixel has one number or three");
    require(picture->pixels.size() == picture->height * picture->width * picture->channels &&
                !picture->pixels.empty() && picture->pixels.size() <= data::picture_bytes_max,
            "a picture has as many pixels as its size says");
    // deflate makes some 1,100 bytes of one at most, and a byte holds eight pixels of a palette
    require(picture->pixels.size() / (1200 * 24) <= file.size(),
            "a picture has more pixels than its bytes can hold");
    file.push_back(0);
    const auto again = data::decode_png(text_of(file));
    require(again && again->pixels == picture->pixels, "a byte behind the end changes a picture");
    return true;
}

std::vector<Bytes> picture_seeds() {
    std::vector<Bytes> out;
    // depth and colour type, bytes of a row of three pixels, and the length of a palette
    constexpr std::uint8_t kinds[][4] = {{1, 0, 1, 0}, {4, 0, 2, 0},   {8, 0, 3, 0},  {16, 0, 6, 0},
                                         {8, 2, 9, 0}, {16, 2, 18, 0}, {2, 3, 1, 4},  {8, 3, 3, 5},
                                         {8, 4, 6, 0}, {8, 6, 12, 0},  {16, 6, 24, 0}};
    for (const auto& [depth, colour, row, palette] : kinds) {
        Bytes parts{0, 0, 0, 3, 0, 0, 0, 5, depth, colour, 0, 0, 0, palette};
        for (std::uint8_t i = 0; i < 3 * palette; ++i)
            parts.push_back(static_cast<std::uint8_t>(40 * i));
        for (std::uint8_t filter = 0; filter < 5; ++filter) {
            parts.push_back(filter);
            // within the palette, whatever the filter adds
            for (std::uint8_t i = 0; i < row; ++i)
                parts.push_back(palette > 0 ? std::uint8_t{0}
                                            : static_cast<std::uint8_t>(17 * i + filter));
        }
        out.push_back(seed(2, parts));
        out.push_back(seed(1, packed_picture(parts)));
        out.push_back(seed(0, packed_picture(parts)));
    }
    return out;
}

// -- configurations ----------------------------------------------------------------------------

bool try_config(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 2);
    if (kind == 0) {
        const auto settings = config::read_toml(text_of(body), "vflbus.toml");
        require(settings.has_value() || !settings.error().sentence.empty(),
                "a configuration is refused without a reason");
        return settings.has_value();
    }
    return round_trip(
        body,
        [](const auto& bytes) {
            return config::parse_canonical(text_of(bytes), config::Members::may_be_unsaid);
        },
        [](const config::AgreedHalf& half) {
            const std::string text = config::canonical_agreed(half);
            return Bytes(text.begin(), text.end());
        });
}

std::vector<Bytes> config_seeds() {
    config::Config some;
    some.run.world_size = 2;
    return {
        seed(0,
             "[run]\nworld_size = 2\n[model]\ntask = \"logistic\"\nl2 = 1.0\n"
             "[party.master]\ndata = \"bank.csv\"\nlabel = [\"y\"]\n"),
        seed(1, config::canonical_agreed(some)),
    };
}

// -- a member's policy -------------------------------------------------------------------------

bool try_policy(std::span<const std::uint8_t> input) {
    const auto policy = policy::parse_policy(text_of(input), "policy.toml");
    if (!policy) {
        require(!policy.error().sentence.empty(), "a policy is refused without a reason");
        return false;
    }
    // whoever asks, the answer is a section of it, or none
    for (const char* const owner : {"bank", "bank-0123456789abcdef", "", "*", "a[b"}) {
        const policy::Section* const section = policy->section_of({owner, ""});
        require(section == nullptr || (section >= policy->sections.data() &&
                                       section < policy->sections.data() + policy->sections.size()),
                "a section that is none of the policy decides");
    }
    return true;
}

std::vector<Bytes> policy_seeds() {
    const auto bytes = [](std::string_view text) { return Bytes(text.begin(), text.end()); };
    return {bytes("approve = \"each\"\nheld_max = 3\n[banks]\nowners = [\"bank-*\"]\n"
                  "purposes = [\"train\"]\nmodels = [\"linear\"]\nparties_min = 3\nhours = "
                  "[\"07:00-19:00\"]\n"
                  "columns_never = [\"ssn\"]\nruns_per_day = 2\nrows_min = 100\n"),
            bytes("[all]\nowners = [\"*\"]\nfingerprints = [\"7QHD-2K5W\"]\n"
                  "tables = \"granted\"\nprotocols_never = [\"honest\"]\n")};
}

// -- audit logs --------------------------------------------------------------------------------

/// A directory for the seed's files, which goes with it.
class Place {
  public:
    Place() {
        std::string name = (std::filesystem::temp_directory_path() / "vflbus-fuzz-XXXXXX").string();
        require(::mkdtemp(name.data()) != nullptr, "there is no place for files");
        path_ = name;
    }
    ~Place() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

/// A log that is whole tells of each of its lines once, and one more line behind it that nobody has
/// chained makes it one that is not. Half of the inputs are a log alone; the others end in a head
/// file, behind a zero.
bool try_audit(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 2);
    observe::AuditExpected expected;
    expected.head_file = kind == 1;
    std::string log(text_of(body));
    std::string head;
    if (const std::size_t end = log.find('\0'); kind == 1 && end != std::string::npos) {
        head = log.substr(end + 1);
        log.resize(end);
    }
    std::uint64_t told = 0;
    const auto verdict = observe::verify_audit_text(log, head, expected,
                                                    [&](std::uint64_t, const Json&) { ++told; });
    if (!verdict) {
        require(!verdict.error().sentence.empty(), "a log is refused without a reason");
        return false;
    }
    require(told == verdict->lines, "a line of a log is told twice, or not at all");
    require(verdict->signed_lines <= verdict->lines, "more lines are signed than there are");
    log += "{\"n\":" + std::to_string(verdict->lines + 1) + "}\n";
    require(!observe::verify_audit_text(log, head, expected), "a line that nobody chained is one");
    return verdict->lines > 0;
}

std::vector<Bytes> audit_seeds() {
    const Place place;
    {
        observe::AuditOptions options;
        options.utc_now = [] { return std::string("2026-02-03T04:05:06.789Z"); };
        const auto log = observe::AuditLog::open(place.path(), options);
        require(log.has_value(), "an audit log can be begun");
        require((*log)->append("rows", {{"run", "00ff"}, {"rows", 12}}).has_value(),
                "a line can be added");
        require((*log)->append("end", {{"run", "00ff"}, {"code", "ok"}}).has_value(),
                "a line can be added");
    }
    const auto text = read_file(observe::audit_file(place.path()));
    const auto head = read_file(observe::audit_head_file(place.path()));
    require(text && head, "a log can be read");
    return {seed(0, *text), seed(1, *text + '\0' + *head)};
}

}  // namespace
}  // namespace of_files

const Target tables_target{"tables", "CSV, libsvm, npy and packed tables", of_files::try_table,
                           of_files::table_seeds};
const Target pictures_target{"pictures", "PNG pictures", of_files::try_picture,
                             of_files::picture_seeds};
const Target config_target{"config", "configuration files and the agreed half of another party",
                           of_files::try_config, of_files::config_seeds};
const Target audit_target{"audit", "audit logs", of_files::try_audit, of_files::audit_seeds};
const Target policy_target{"policy", "the policy of a member", of_files::try_policy,
                           of_files::policy_seeds};

}  // namespace vflbus::fuzz
