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

TEST_CASE("metrics come back as they were, and are bounded") {
    const Metrics metrics{7, {{"accuracy", 0.5}, {"loss", -1e300}}};
    const auto back = decode_metrics(encode(metrics));
    REQUIRE(back);
    CHECK(back->step == 7);
    CHECK(back->values == metrics.values);
    Metrics many;
    for (std::size_t i = 0; i <= metrics_max; ++i) many.values[std::to_string(i)] = 1;
    CHECK_FALSE(decode_metrics(encode(many)));
    CHECK_FALSE(decode_metrics(encode(Metrics{1, {{"", 1}}})));
    CHECK_FALSE(decode_metrics(encode(Metrics{1, {{std::string(65, 'x'), 1}}})));
}

TEST_CASE("the agreed text tells runs of apps from trainings, and carries their configuration") {
    const auto values =
        parse_values({"rounds=3", "rate=0.5", "on=true", "name=a=b", "empty="}, "--run-config");
    REQUIRE(values);
    CHECK(std::get<std::int64_t>(values->at("rounds")) == 3);
    CHECK(std::get<double>(values->at("rate")) == 0.5);
    CHECK(std::get<bool>(values->at("on")));
    CHECK(std::get<std::string>(values->at("name")) == "a=b");
    app::Values all = *values;
    all["odd"] = std::string("1\n\"x\\n\" = 2");
    all["digits"] = std::string("7");
    const auto back = run_config_of(agreed_text(all));
    REQUIRE(back);
    REQUIRE(*back);
    CHECK(**back == all);
    CHECK_FALSE(run_config_of("[run]\nseed = 1\n"));
    const auto later = run_config_of("vflbus-app 2\n");
    REQUIRE(later);
    CHECK_FALSE(*later);
    CHECK_FALSE(*run_config_of("vflbus-app 1\nno value\n"));
    for (const std::string bad : {"x", "=1", "a b=1", ""})
        CHECK_FALSE(parse_values({bad}, "--run-config"));
}

TEST_CASE("frames between a node and its apps have a bounded length") {
    std::uint8_t head[told_head_bytes];
    put_head(Told::push, 17, head);
    const auto told = get_head(head);
    REQUIRE(told);
    CHECK(told->kind == Told::push);
    CHECK(told->length == 17);
    put_head(Told::push, told_bytes_max + 1, head);
    CHECK_FALSE(get_head(head));
}

TEST_CASE("the codes of the public header are those of the wire") {
    CHECK(app::Error::unknown_run == static_cast<int>(Errc::unknown_run));
    CHECK(app::Error::unknown_handler == static_cast<int>(Errc::unknown_message));
    CHECK(app::Error::malformed_message == static_cast<int>(Errc::malformed_message));
    CHECK(app::Error::node_restarted == static_cast<int>(Errc::peer_restarted));
    CHECK(app::Error::node_gone == static_cast<int>(Errc::peer_lost));
    CHECK(app::Error::refused == static_cast<int>(Errc::refused));
    CHECK(app::Error::handler_failed == static_cast<int>(Errc::handler_failed));
    CHECK(app::Error::cancelled == static_cast<int>(Errc::cancelled));
    CHECK(app::Error::expired == static_cast<int>(Errc::expired));
}
