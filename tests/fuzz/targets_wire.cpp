// Header, control bodies and questions: what the broker and every link read first.

#include "base/assert.hpp"
#include "bus/core/link_seal.hpp"
#include "bus/wire/control.hpp"
#include "bus/wire/enrolment.hpp"
#include "bus/wire/header.hpp"
#include "bus/wire/questions.hpp"
#include "bus/wire/sealed.hpp"
#include "seeds.hpp"

namespace vflbus::fuzz {
namespace of_wire {
namespace {

using namespace vflbus::bus;

// -- header ------------------------------------------------------------------------------------

bool try_header(std::span<const std::uint8_t> input) {
    Header header;
    if (decode(input, header) != HeaderFault::none) return false;
    const HeaderBytes again = encode(header);
    require(std::ranges::equal(again, input), "a header that was accepted is written otherwise");
    (void)valid(header, header.body_bytes);
    (void)valid(header, 0);
    return true;
}

std::vector<Bytes> header_seeds() {
    std::vector<Bytes> out;
    for (std::uint8_t kind = 1; kind <= 21; ++kind) {
        Header header;
        header.kind = static_cast<Kind>(kind);
        header.src = node_id_of("member-0");
        header.dst = node_id_of("master");
        header.request = kind;
        header.body_bytes = std::uint64_t{kind} * 1000;
        const HeaderBytes bytes = encode(header);
        out.emplace_back(bytes.begin(), bytes.end());
    }
    return out;
}

// -- control bodies ----------------------------------------------------------------------------

bool try_control(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 11);
    switch (kind) {
        case 0:
            return round_trip(body, decode_hello, encoded_again);
        case 1:
            return round_trip(body, decode_welcome, encoded_again);
        case 2:
            return round_trip(body, decode_open, encoded_again);
        case 3:
            return round_trip(body, decode_join, encoded_again);
        case 4:
            return round_trip(body, decode_close, encoded_again);
        case 5:
            return round_trip(body, decode_peer_up, encoded_again);
        case 6:
            return round_trip(body, decode_peer_suspect, encoded_again);
        case 7:
            return round_trip(body, decode_peer_down, encoded_again);
        case 8:
            return !decode_sentence(body).empty();
        case 9:
            return round_trip(body, decode_enrol_request, encoded_again);
        default:
            return round_trip(body, decode_enrol_answer, encoded_again);
    }
}

std::vector<Bytes> control_seeds() {
    const Extensions some{{1, {1, 2, 3}}, {1001, Bytes(40, 7)}};
    return {
        seed(0, encode(Hello{"member-0", "member", 0, 3, 77, "0.1.0", {"apps", "serve"}, some})),
        seed(1, encode(Welcome{"0.1.0", 1000, 3000, 10000, 4096, 1 << 20, some})),
        seed(2, encode(Open{"master", {{"member-0", "member", 0}}, "[model]\n", some})),
        seed(2, encode(Open{"master", {any_node}, "", {}})),
        seed(3, encode(Join{"member-0", "member", 0, 3, {}, "0.1.0", Errc::ok, "", some})),
        seed(3, encode(Join{"m", "member", 0, 3, {}, "0.1.0", Errc::bad_data, "no table", {}})),
        seed(4, encode(Ending{Errc::peer_lost, "member-0 is gone"})),
        seed(5, encode(PeerUp{"member-0", "member", 0, 3})),
        seed(6, encode(PeerSuspect{"member-0", Errc::peer_lost, 3100})),
        seed(7, encode(PeerDown{"member-0", Errc::peer_lost, 10100})),
        seed(8, encode_sentence("the broker ends")),
        seed(9, encode(EnrolRequest{"member-0", {1, 2, 3}, 1'900'000'000, "0.1.0", some})),
        seed(10, encode(EnrolAnswer{"member-0", "role=member rank=0", 1, 2, "0.1.0", some})),
    };
}

// -- questions ---------------------------------------------------------------------------------

bool try_question(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 15);
    const auto rows = [](const auto& all) { return encode(std::span(all)); };
    const auto number = [](std::uint64_t n) { return encode_from(n); };
    const auto text = [](const std::string& all) { return encode_text(all); };
    switch (kind) {
        case 0:
            return round_trip(body, decode_runs_query, encoded_again);
        case 1:
            return round_trip(body, decode_nodes_query, number);
        case 2:
            return round_trip(body, decode_run_query, text);
        case 3:
            return round_trip(body, decode_note_query, encoded_again);
        case 4:
            return round_trip(body, decode_run_rows, rows);
        case 5:
            return round_trip(body, decode_node_rows, rows);
        case 6:
            return round_trip(body, decode_from, number);
        case 7:
            return round_trip(body, decode_text, text);
        case 8:
            return round_trip(body, decode_status, encoded_again);
        case 9:
            return round_trip(body, decode_metrics, encoded_again);
        case 10:
            return round_trip(body, decode_log, encoded_again);
        case 11:
            return round_trip(body, decode_submit, encoded_again);
        case 12:
            return round_trip(body, decode_timing, encoded_again);
        case 13:
            return round_trip(body, decode_load, encoded_again);
        default:
            return round_trip(body, decode_submit_answer, encoded_again);
    }
}

std::vector<Bytes> question_seeds() {
    RunRow run;
    run.owner = "master";
    run.role = "master";
    run.names = {"member-0", "member-1"};
    run.participants = 2;
    NodeRow node;
    node.name = "member-0";
    node.role = "member";
    node.features = {"apps"};
    return {
        seed(0, encode(RunsQuery{"finished", 20})),
        seed(1, encode_nodes_query(20)),
        seed(2, encode_run_query("a1b2")),
        seed(3, encode(NoteQuery{RunState::failed, Errc::peer_lost, "member-0 is gone"})),
        seed(4, encode(std::span<const RunRow>(&run, 1))),
        seed(5, encode(std::span<const NodeRow>(&node, 1))),
        seed(6, encode_from(12)),
        seed(7, encode_text("stopped by hand")),
        seed(8, encode(RunStatus{"training", 12, 100, 1, 5, .25})),
        seed(9, encode(MetricsAnswer{
                    2, {{1, 0, "train", .5, {{"auc", .7}}}, {2, 1, "test", .4, {}}}})),
        seed(10, encode(LogAnswer{0, 12, true, "a line\n"})),
        seed(11, encode(SubmitQuery{"[model]\n", "try"})),
        seed(12, encode(TimingAnswer{9, {{3, 1, 5, 2, {{0, 1, 2}}}}, {{8, 1, 2}}})),
        seed(13, encode(LoadAnswer{1, 2, 3, 4})),
        seed(14, encode(SubmitAnswer{RunState::pending, 2})),
    };
}

// -- sealing -----------------------------------------------------------------------------------

bool try_sealed(std::span<const std::uint8_t> input) {
    const auto [kind, body] = choose(input, 8);
    switch (kind) {
        case 0:
            return round_trip(
                body, [](auto bytes) { return decode_seal_offer(bytes, "master"); }, encoded_again);
        case 1:
            return round_trip(
                body, [](auto bytes) { return decode_seal_accept(bytes, "member-0"); },
                encoded_again);
        case 2:
            return round_trip(body, decode_sealed_join, encoded_again);
        case 3:
            return round_trip(body, decode_terms_query, encoded_again);
        case 4:
            return round_trip(body, decode_key_answer, encoded_again);
        case 5:
            return round_trip(body, decode_sealed_query, encoded_again);
        case 6:
            return round_trip(body, decode_sealed_answer, encoded_again);
        default: {  // a sealed body: nothing that was not sealed with the key opens
            const SealKeys keys;
            const bool opens =
                opened_bytes(keys, SealedKind::query, 1, {}, Bytes(body.begin(), body.end()))
                    .has_value();
            const Bytes sealed =
                sealed_bytes(keys, SealedKind::query, 1, {}, Bytes(body.begin(), body.end()));
            VFLBUS_ASSERT(opened_bytes(keys, SealedKind::query, 1, {}, sealed) ==
                              Bytes(body.begin(), body.end()),
                          "what is sealed can be opened");
            return opens;
        }
    }
}

std::vector<Bytes> sealed_seeds() {
    SealParty party{"member-0", "member-0", {}, {}};
    party.key.fill(1);
    party.session.fill(2);
    return {
        seed(0, encode(SealOffer{party, true, 3})),
        seed(1, encode(SealAccept{party, 1, 3, 4, Bytes(40, 5)})),
        seed(2, encode(SealedJoin{{}, "no table"})),
        seed(3, encode(TermsQuery{party, 2, 1, 3})),
        seed(4, encode(KeyAnswer{party, false})),
        seed(5, encode(SealedQuery{party, 1, 7, Bytes(20, 6)})),
        seed(6, encode(SealedAnswer{8, Bytes(30, 6)})),
        seed(7, sealed_bytes({}, SealedKind::query, 1, {}, Bytes(20, 9))),
    };
}

}  // namespace
}  // namespace of_wire

const Target header_target{"header", "the header of every frame", of_wire::try_header,
                           of_wire::header_seeds};
const Target control_target{"control", "bodies of HELLO, OPEN, JOIN and the other control kinds",
                            of_wire::try_control, of_wire::control_seeds};
const Target questions_target{"questions", "questions and their answers", of_wire::try_question,
                              of_wire::question_seeds};
const Target sealed_target{"sealed", "keys and sealed bodies", of_wire::try_sealed,
                           of_wire::sealed_seeds};

}  // namespace vflbus::fuzz
