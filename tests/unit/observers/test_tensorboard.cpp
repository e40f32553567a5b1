#include <catch.hpp>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "observers/tensorboard.hpp"

using namespace vflbus;
using namespace vflbus::observers;
using namespace std::chrono_literals;

namespace {

std::string hex(const std::string& bytes) {
    return to_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

TEST_CASE("CRC-32C has the values of RFC 3720, appendix B.4") {
    CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
    CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
    std::string ascending;
    for (char c = 0; c < 32; ++c) ascending += c;
    CHECK(crc32c(ascending) == 0x46DD794E);
    CHECK(crc32c("123456789") == 0xE3069283);
}

TEST_CASE("events and records are byte for byte what TensorFlow writes") {
    // Event(wall_time=1.5, file_version="brain.Event:2").SerializeToString(), and so on
    CHECK(hex(version_event(1.5)) == "09000000000000f83f1a0d627261696e2e4576656e743a32");
    CHECK(hex(scalar_event(1.5, 300, "loss", 0.5F)) ==
          "09000000000000f83f10ac022a0d0a0b0a046c6f7373150000003f");
    CHECK(hex(restart_event(1.5, 3)) == "09000000000000f83f10033a020801");
    CHECK(hex(tf_record("abc")) ==
          "0300000000000000"
          "b099490e"
          "616263"
          "6e57f121");
}

TEST_CASE("a file has each value once, and says that a run was gone on with") {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("vflbus-tb-" + random_run_id().hex());
    for (const bool resumed : {false, true}) {
        const auto directory = folder / (resumed ? "later" : "first");
        {
            auto opened = TensorBoardObserver::open(directory, resumed);
            REQUIRE(opened.has_value());
            observe::ProgressState state;
            for (const std::uint64_t step : {1, 2, 1, 2, 3}) {
                state.step = step;
                state.loss = 0.5;
                (*opened)->on_step(state, TimePoint{1s});
            }
            (*opened)->on_end({}, {Errc::ok, {}});
            CHECK_FALSE((*opened)->failed());
        }
        const auto files = entries_of(directory);
        REQUIRE(files.size() == 1);
        CHECK(files[0].filename().string().starts_with("events.out.tfevents."));
        const std::size_t size = read_file(files[0]).value().size();
        const std::size_t frame = 16;
        const std::size_t values = 3 * (frame + scalar_event(1.5, 1, "loss", 0.5F).size());
        CHECK(size == frame + version_event(1.5).size() + values +
                          (resumed ? frame + restart_event(1.5, 1).size() : 0));
    }
    std::filesystem::remove_all(folder);
}
