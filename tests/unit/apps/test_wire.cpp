// What apps say to each other, there and back, and what a stranger may send instead.

#include "apps/wire.hpp"
#include "catch.hpp"

using namespace vflbus;
using namespace vflbus::apps;

namespace {

app::Record everything() {
    app::Record record;
    record.tensors["f64"] = app::Tensor::of(std::vector<double>{1.5, -0.0, 1e300});
    record.tensors["f32"] =
        app::Tensor::of(std::span<const float>(std::vector<float>{1, 2, 3, 4, 5, 6}), {2, 3});
    record.tensors["i64"] = app::Tensor::of(std::vector<std::int64_t>{INT64_MIN, INT64_MAX});
    record.tensors["i32"] = app::Tensor::of(std::vector<std::int32_t>{-1});
    record.tensors["u8"] = app::Tensor::of(std::vector<std::uint8_t>{});
    record.metrics["integer"] = std::int64_t{-7};
    record.metrics["number"] = 0.25;
    record.metrics["integers"] = std::vector<std::int64_t>{1, 2};
    record.metrics["numbers"] = std::vector<double>{1, 0.5};
    record.config["flag"] = true;
    record.config["integer"] = 5;
    record.config["number"] = -2.5;
    record.config["text"] = "two\nlines";
    record.config["bytes"] = std::vector<std::uint8_t>{0, 255};
    record.config["integers"] = std::vector<std::int64_t>{};
    record.config["numbers"] = std::vector<double>{3};
    record.config["texts"] = std::vector<std::string>{"a", ""};
    return record;
}

}  // namespace

TEST_CASE("a record comes back as it was") {
    for (const app::Record& record : {app::Record{}, everything()}) {
        const auto back = decode_record(encode(record));
        REQUIRE(back);
        CHECK(*back == record);
    }
    const auto back = decode_record(encode(everything()));
    CHECK(back->tensors.at("f32").shape() == std::vector<std::uint64_t>{2, 3});
    CHECK(back->tensors.at("f32").values<float>()[5] == 6);
    CHECK_THROWS_AS(back->tensors.at("f32").values<double>(), std::invalid_argument);
}

TEST_CASE("a record that is cut off or changed is refused, and nothing worse happens") {
    const Bytes good = encode(everything());
    for (std::size_t n = 0; n < good.size(); ++n)
        CHECK_FALSE(decode_record(std::span(good).first(n)));
    Bytes longer = good;
    longer.push_back(0);
    CHECK_FALSE(decode_record(longer));
    for (std::size_t i = 0; i < good.size(); ++i)
        for (const std::uint8_t flip : {0x01, 0x80, 0xff}) {
            Bytes bad = good;
            bad[i] ^= flip;
            (void)decode_record(bad);  // either way, within bounds
        }
}

TEST_CASE("a tensor whose shape does not fit is refused, also when the product wraps") {
    CHECK_THROWS_AS(app::Tensor(app::DType::f64, {3}, std::vector<std::uint8_t>(16)),
                    std::invalid_argument);
    CHECK_THROWS_AS(app::Tensor(app::DType::f64, {1ULL << 63, 2}, {}), std::invalid_argument);
    CHECK_THROWS_AS(app::Tensor(app::DType::f64, {1}, std::vector<std::uint8_t>(9)),
                    std::invalid_argument);
    CHECK_NOTHROW(app::Tensor(app::DType::f64, {0, 5}, {}));
}

TEST_CASE("an envelope comes back as it was, and its time to live is bounded") {
    Envelope envelope{"id-1", "train.x", "3", 1500, 1'700'000'000'000'000, {}};
    const Bytes record = encode(app::Record{});
    envelope.record = record;
    const Bytes bytes = encode(envelope);
    const auto back = decode_envelope(bytes);
    REQUIRE(back);
    CHECK(back->message_id == "id-1");
    CHECK(back->message_type == "train.x");
    CHECK(back->group_id == "3");
    CHECK(back->ttl_ms == 1500);
    CHECK(decode_record(back->record));
    const app::Metadata metadata = metadata_of(*back);
    CHECK(metadata.ttl == app::Duration(1500));
    CHECK(envelope_of(metadata).created_us == envelope.created_us);
    envelope.ttl_ms = -1;
    CHECK_FALSE(decode_envelope(encode(envelope)));
    envelope.ttl_ms = ttl_ms_max + 1;
    CHECK_FALSE(decode_envelope(encode(envelope)));
}

TEST_CASE(
    "a message is scattered into the bytes that it is encoded to, and large tensors stay put") {
    app::Record record = everything();
    record.tensors["large"] =
        app::Tensor::of(std::vector<std::uint8_t>(share_from_bytes, std::uint8_t{9}));
    record.tensors["larger"] = app::Tensor::of(std::vector<double>(share_from_bytes, 0.5));
    Envelope envelope{"id-1", "train", "", 1, 2, {}};
    Scattered scattered = scatter(envelope, record);
    const Bytes content = encode(record);
    envelope.record = content;
    CHECK(scattered.bytes() == encode(envelope).size());
    CHECK(scattered.gather() == encode(envelope));
    std::size_t in_place = 0;
    for (const auto piece : scattered.pieces())
        for (const char* name : {"large", "larger"})
            if (piece.data() == record.tensors.at(name).raw().data()) ++in_place;
    CHECK(in_place == 2);
}

TEST_CASE("a record that is decoded keeps the memory that its large tensors are in") {
    app::Record record;
    record.tensors["large"] = app::Tensor::of(std::vector<double>(share_from_bytes, 0.5));
    record.tensors["small"] = app::Tensor::of(std::vector<double>{1, 2});
    auto memory = std::make_shared<const Bytes>(encode(record));
    const std::weak_ptr<const Bytes> watched = memory;
    auto back = decode_record(*memory, memory);
    REQUIRE(back);
    CHECK(*back == record);
    const auto inside = [&](const app::Tensor& tensor) {
        return tensor.raw().data() >= memory->data() &&
               tensor.raw().data() < memory->data() + memory->size();
    };
    CHECK(inside(back->tensors.at("large")));
    CHECK_FALSE(inside(back->tensors.at("small")));
    const app::Tensor kept = back->tensors.at("large");
    memory.reset();
    back->tensors.clear();
    CHECK_FALSE(watched.expired());
    CHECK(kept.values<double>()[7] == 0.5);
}

TEST_CASE("a record has as many tensors as it may, and no more elements than bounded") {
    app::Record record;
    for (int i = 0; i < 20'000; ++i)
        record.tensors[std::to_string(i)] = app::Tensor::of(std::vector<double>{1.0});
    const auto back = decode_record(encode(record));
    REQUIRE(back);
    CHECK(*back == record);
    record.tensors.clear();
    for (int i = 0; i < 20; ++i)
        record.config[std::to_string(i)] = std::vector<std::string>(entries_max);
    CHECK_FALSE(decode_record(encode(record)));
}

TEST_CASE("the codes of the public header are those of the wire") {
    CHECK(app::Error::unknown_run == static_cast<int>(Errc::unknown_run));
    CHECK(app::Error::too_large == static_cast<int>(Errc::too_large));
    CHECK(app::Error::too_many == static_cast<int>(Errc::too_many));
    CHECK(app::Error::unknown_handler == static_cast<int>(Errc::unknown_message));
    CHECK(app::Error::malformed_message == static_cast<int>(Errc::malformed_message));
    CHECK(app::Error::node_restarted == static_cast<int>(Errc::peer_restarted));
    CHECK(app::Error::node_gone == static_cast<int>(Errc::peer_lost));
    CHECK(app::Error::refused == static_cast<int>(Errc::refused));
    CHECK(app::Error::handler_failed == static_cast<int>(Errc::handler_failed));
    CHECK(app::Error::cancelled == static_cast<int>(Errc::cancelled));
    CHECK(app::Error::expired == static_cast<int>(Errc::expired));
}
