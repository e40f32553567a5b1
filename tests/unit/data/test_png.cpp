// PNG pictures, as Pillow 12 has written them, and folders of them as tables.

#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "catch.hpp"
#include "data/picture_folder.hpp"
#include "data/png.hpp"
#include "data/source.hpp"

using namespace vflbus;
using namespace vflbus::data;
namespace fs = std::filesystem;

namespace {

std::string from_hex(std::string_view digits) {
    std::string out;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
        out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
    return out;
}

unsigned long sum_of(const std::vector<std::uint8_t>& pixels) {
    return ::crc32(0, pixels.data(), static_cast<uInt>(pixels.size()));
}

// five rows of six pixels each; grey is 40 x + 17 y, coloured (40 x, 50 y, 9 x y)
const std::string grey_png = from_hex(
    "89504e470d0a1a0a0000000d49484452000000060000000508000000004333c23a0000001849444154789c6364d0d0"
    "d0d0d060121414141414c44a01002f5a026ae4ab436c0000000049454e44ae426082");
const std::string colour_png = from_hex(
    "89504e470d0a1a0a0000000d4948445200000006000000050802000000e93a0ab10000002649444154789c63646060"
    "d040452c0c460c0c0c9cc8082e240447c842d2108426a4c2c0a002008ffc030a1400e5e50000000049454e44ae4260"
    "82");
const std::string alpha_png = from_hex(
    "89504e470d0a1a0a0000000d49484452000000060000000508060000006658"
    "9de60000002d49444154789c6364606038a1c1c0c0808e59188c181818183831309284100a46939086632c122a0c0c"
    "0c2a0c001dbe03d2aa0fd8e30000000049454e44ae426082");
const std::string palette_png = from_hex(
    "89504e470d0a1a0a0000000d49484452000000060000000502030000001b3675750000000c504c54458c965f14960e"
    "8c19101419025bdf93240000001749444154789c63fcb788e90f03430803130303d31f060025d203f4679167d30000"
    "000049454e44ae426082");
const std::string bit_png = from_hex(
    "89504e470d0a1a0a0000000d49484452000000060000000501000000004e23a04b0000001249444154789c6308610a"
    "6108610a61080100085601a982816cc30000000049454e44ae426082");
const std::string deep_png = from_hex(
    "89504e470d0a1a0a0000000d49484452000000060000000510000000"
    "0013a31e790000003049444154789c35cab10d00300c024107d8240dfbd78cc3202922ebbbd39f99eb4d084cb32c2b"
    "865d10f3158185ecc43ee1c511d2d9250d150000000049454e44ae426082");

struct Folder {
    fs::path path;
    Folder() {
        std::string name = (fs::temp_directory_path() / "vflbus-png-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    void put(const std::string& name, const std::string& bytes) const {
        fs::create_directories((path / name).parent_path());
        std::ofstream(path / name, std::ios::binary) << bytes;
    }
};

}  // namespace

TEST_CASE("PNG pictures of every kind have the pixels that they were made of", "[png]") {
    const auto grey = decode_png(grey_png);
    REQUIRE(grey);
    REQUIRE(grey->height == 5);
    REQUIRE(grey->width == 6);
    REQUIRE(grey->channels == 1);
    const auto colour = decode_png(colour_png);
    REQUIRE(colour);
    REQUIRE(colour->channels == 3);
    const auto alpha = decode_png(alpha_png);
    REQUIRE(alpha);
    CHECK(alpha->pixels == colour->pixels);
    const auto deep = decode_png(deep_png);
    REQUIRE(deep);
    for (std::size_t y = 0; y < 5; ++y)
        for (std::size_t x = 0; x < 6; ++x) {
            const std::size_t at = y * 6 + x;
            CHECK(grey->pixels[at] == (40 * x + 17 * y) % 256);
            CHECK(colour->pixels[3 * at] == 40 * x);
            CHECK(colour->pixels[3 * at + 1] == 50 * y);
            CHECK(colour->pixels[3 * at + 2] == 9 * x * y);
            CHECK(deep->pixels[at] == (9000 * x + 700 * y) / 256);
        }
    const auto palette = decode_png(palette_png);
    REQUIRE(palette);
    CHECK(sum_of(palette->pixels) == 455072828);
    const auto bit = decode_png(bit_png);
    REQUIRE(bit);
    CHECK(sum_of(bit->pixels) == 2107881792);
}

TEST_CASE("a PNG picture that is cut or changed anywhere is refused", "[png]") {
    for (const std::string& whole : {grey_png, colour_png, palette_png, bit_png}) {
        for (std::size_t length = 0; length < whole.size(); ++length)
            CHECK_FALSE(decode_png(std::string_view(whole).substr(0, length)));
        for (std::size_t at = 0; at < whole.size(); ++at) {
            std::string wrong = whole;
            wrong[at] = static_cast<char>(wrong[at] ^ 0x21);
            CHECK_FALSE(decode_png(wrong));
        }
    }
    // a header that promises more than the bytes can hold takes no memory
    std::string huge = grey_png;
    huge[18] = 0x30;
    huge[22] = 0x06;
    const auto sum = ::crc32(0, reinterpret_cast<const Bytef*>(huge.data() + 12), 17);
    for (std::size_t i = 0; i < 4; ++i) huge[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
    const auto refused = decode_png(huge);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().sentence.find("cut off") != std::string::npos);
}

TEST_CASE("chunks that say nothing of pixels are passed over, others are not", "[png]") {
    const auto with_chunk = [](const std::string& type) {
        std::string chunk = std::string(3, '\0') + '\1' + type + 'x';
        const auto sum = ::crc32(0, reinterpret_cast<const Bytef*>(chunk.data() + 4), 5);
        for (std::size_t i = 0; i < 4; ++i) chunk += static_cast<char>(sum >> (24 - 8 * i));
        return grey_png.substr(0, 33) + chunk + grey_png.substr(33);
    };
    CHECK(decode_png(with_chunk("tEXt")));
    const auto unknown = decode_png(with_chunk("TEXt"));
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().sentence.find("a chunk of a kind") != std::string::npos);
    CHECK_FALSE(decode_png(with_chunk("IHDR")));
}

TEST_CASE("a folder of pictures is a table with a column for each pixel", "[png]") {
    const Folder folder;
    folder.put("seven/b.png", grey_png);
    folder.put("one/a,\"1\".PNG", grey_png);
    folder.put("one/notes.txt", "no picture");
    TableRequest request;
    request.labels = {"folder"};
    SourceOptions options;
    options.location = folder.path.string();
    const auto table = read_table(options, request);
    INFO((table ? std::string() : table.error().sentence));
    REQUIRE(table);
    REQUIRE(table->rows() == 2);
    CHECK(table->ids[0] == "a,\"1\"");
    CHECK(table->ids[1] == "b");
    REQUIRE(table->features.size() == 30);
    CHECK(table->features[0].name == "p0");
    CHECK(table->features[29].numbers[1] == 12);
    REQUIRE(table->labels.size() == 1);
    CHECK(table->labels[0].dictionary == std::vector<std::string>{"one", "seven"});

    // a picture beside the folders of the classes has none of them
    folder.put("z.png", grey_png);
    const auto beside = read_table(options, request);
    REQUIRE(beside);
    REQUIRE(beside->rows() == 3);
    CHECK(beside->ids[2] == "z");
    CHECK(beside->labels[0].dictionary == std::vector<std::string>{"one", "seven"});
    CHECK(beside->labels[0].is_missing(2));

    // without folders in it there is no such column
    const Folder flat;
    flat.put("b.png", colour_png);
    options.location = flat.path.string() + "/";
    const auto coloured = read_table(options, {});
    REQUIRE(coloured);
    CHECK(coloured->features.size() == 90);
    const Stamp before = stamp_of(options.location);
    CHECK(before.known());
    flat.put("c.png", colour_png);
    CHECK_FALSE(stamp_of(options.location) == before);
}

TEST_CASE("a folder of pictures that do not fit says which one", "[png]") {
    const Folder folder;
    SourceOptions options;
    options.location = folder.path.string();
    options.party = "member-0";
    const auto empty = open_source(options);
    REQUIRE_FALSE(empty);
    CHECK(empty.error().sentence.find("holds no PNG pictures") != std::string::npos);
    folder.put("a.png", grey_png);
    folder.put("b.png", colour_png);
    const auto mixed = open_source(options);
    REQUIRE_FALSE(mixed);
    CHECK(mixed.error().code == Errc::bad_data);
    CHECK(mixed.error().sentence.find("b.png") != std::string::npos);
    CHECK(mixed.error().sentence.find("5x6 coloured") != std::string::npos);
    folder.put("b.png", grey_png.substr(0, 60));
    const auto cut = open_source(options);
    REQUIRE_FALSE(cut);
    CHECK(cut.error().sentence.find("b.png") != std::string::npos);
    CHECK(cut.error().sentence.find("cut off") != std::string::npos);
}
