// What members and masters do with bodies and orders that nobody should send.

#include "actors/messages.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

constexpr MessageType all_types[] = {message::align,      message::select,        message::begin,
                                     message::step,       message::solve,         message::evaluate,
                                     message::load_model, message::round,         message::finish,
                                     message::release,    message::commit,        message::commits,
                                     message::restore,    linear::iterate_message};

/// Flips, cuts, repeats, or makes up bytes.
Bytes mutate(Bytes body, Rng& rng) {
    switch (rng.below(5)) {
        case 0:
            body.resize(rng.below(body.size() + 1));
            break;
        case 1:
            body.push_back(static_cast<std::uint8_t>(rng.next()));
            break;
        case 2:
            body.assign(rng.below(40), static_cast<std::uint8_t>(rng.next()));
            break;
        default:
            break;
    }
    const std::size_t flips = 1 + rng.below(4);
    for (std::size_t i = 0; i < flips && !body.empty(); ++i)
        body[rng.below(std::min<std::size_t>(body.size(), 48))] =
            static_cast<std::uint8_t>(rng.next());
    return body;
}

}  // namespace

TEST_CASE("messages come back as they went") {
    const data::LocalIds local{{Hash128{1}, Hash128{2}},
                               {1, 3},
                               {0, 1, 2, 3},
                               2,
                               {7, 9, {data::Share::most, data::Share::some}}};
    AlignReply align;
    align.present = true;
    align.rows = 4;
    align.duplicate_rows = 2;
    align.missing_cells = 9;
    align.columns = 5;
    const auto aligned = decode_align_reply(encode(align, local));
    REQUIRE(aligned);
    CHECK(aligned->ids == local.ids);
    CHECK(aligned->counts == local.counts);
    CHECK(aligned->missing_cells == 9);
    CHECK(aligned->shape == local.shape);
    data::LocalIds impossible = local;
    impossible.shape.longest = 6;
    CHECK_FALSE(decode_align_reply(encode(align, impossible)));
    // ids as they are, which the master hashes
    const std::string salt = "s";
    const std::vector<std::string_view> clear{"u1", "u22"};
    const auto hashed = decode_align_reply(encode(align, local, &clear), &salt);
    REQUIRE(hashed);
    CHECK(hashed->ids == std::vector{hash128("u1", salt), hash128("u22", salt)});
    CHECK(hashed->counts == local.counts);
    const std::vector<std::string_view> empty{"u1", ""};
    const auto refused = decode_align_reply(encode(align, local, &empty), &salt);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().sentence.find("an id has no characters") != std::string::npos);

    const SelectRequest select{TableKind::test, {{0x5, 0x1}, {1, 2, 3}, {3, 2, 1}, {}}, 10};
    const auto selected = decode_select_request(encode(select));
    REQUIRE(selected);
    CHECK(selected->table == TableKind::test);
    CHECK(selected->selection.bitmap == select.selection.bitmap);
    CHECK(selected->selection.outer == select.selection.outer);
    CHECK(selected->selection.inner == select.selection.inner);
    SelectReply met;
    met.rows = 10;
    met.filled_cells = 2;
    met.unseen_values = 3;
    const auto answered = decode_select_reply(encode(met));
    REQUIRE(answered);
    CHECK(answered->rows == 10);
    CHECK(answered->filled_cells == 2);
    CHECK(answered->unseen_values == 3);

    models::Matrix m(3, 2);
    for (std::size_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<double>(i) / 3;
    const Bytes step = encode_step(41, m);
    const auto stepped = decode_step_request(step);
    REQUIRE(stepped);
    CHECK(stepped->step == 41);
    models::Matrix out;
    copy_tensor(stepped->tensor, out);
    CHECK(out.rows() == 3);
    CHECK(std::equal(out.span().begin(), out.span().end(), m.span().begin()));

    BeginReply begin;
    begin.features = 3;
    begin.left_out = {{data::LeftOutKind::all_missing, 1}, {data::LeftOutKind::constant, 3}};
    const Bytes begun_body = encode(begin, m);
    const auto begun = decode_begin_reply(begun_body);
    REQUIRE(begun);
    CHECK(begun->left_out == begin.left_out);
    CHECK(begun->scores.cols == 2);

    LoadModelReply model;
    model.run.bytes[3] = 7;
    model.agreed[31] = 9;
    const auto loaded = decode_load_model_reply(encode(model));
    REQUIRE(loaded);
    CHECK(loaded->run == model.run);
    CHECK(loaded->agreed == model.agreed);

    const auto finished = decode_finish_reply(encode(FinishReply{{1, 2}, "x/model.json", 77}));
    REQUIRE(finished);
    CHECK(finished->path == "x/model.json");
    CHECK(finished->bytes == 77);
    CHECK(decode_evaluate_request(encode(EvaluateRequest{TableKind::test, 5, 6}))->rows == 6);
    CHECK(!decode_evaluate_request(encode(BeginRequest{3})));

    const std::vector<StoredCommit> commits{{4, {1, 2}}, {90, {3}}};
    CHECK(*decode_commits_reply(encode(std::span(commits))) == commits);
    CHECK(decode_commits_reply(encode_empty())->empty());
    CHECK(*decode_commit_reply(encode(commits[1])) == commits[1]);
    CHECK(*decode_restore_request(encode(commits[0])) == commits[0]);
    CHECK(*decode_commit_request(encode_commit(12)) == 12);
    const std::vector<StoredCommit> twice{commits[1], commits[1]};
    CHECK(!decode_commits_reply(encode(std::span(twice))));
    const std::vector<StoredCommit> many = [] {
        std::vector<StoredCommit> all;
        for (std::uint64_t i = 0; i <= commits_listed_max; ++i) all.push_back({i, {}});
        return all;
    }();
    CHECK(!decode_commits_reply(encode(std::span(many))));
    CHECK(!decode_commits_reply({}));
    CHECK(!decode_commit_reply(encode_commit(12)));
    const Bytes restored_body = encode_restored(7, m);
    const auto restored = decode_restore_reply(restored_body);
    REQUIRE(restored);
    CHECK(restored->step == 7);
    CHECK(restored->scores.rows == 3);
    CHECK(!decode_begin_request(encode(BeginRequest{0})));
    CHECK(!decode_empty("finish", encode(BeginRequest{3})));
    CHECK(decode_empty("finish", encode_empty()));
}

TEST_CASE(
    "every message in every state of a member: an answer or an error, and no change by errors") {
    // good bodies are recorded from a whole run, then offered again out of order at each point
    World world;
    world.solver = GENERATE(config::Solver::sgd, config::Solver::lbfgs);
    const bool lbfgs = world.solver == config::Solver::lbfgs;
    std::map<MessageType, Bytes> good;
    {
        Play play{world};
        play.set().on_request = [&](std::size_t member, Message& m) {
            if (member == 0) good[m.metadata.message_type] = m.content;
            return true;
        };
        REQUIRE(play.play().code == Errc::ok);
    }
    for (const MessageType type : all_types)
        if (!good.contains(type)) good[type] = encode_empty();

    Play reference{world};
    REQUIRE(reference.play().code == Errc::ok);
    Play play{world};
    auto& harness = play.set();
    std::size_t refused = 0;
    harness.on_request = [&](std::size_t member, Message& m) {
        for (const MessageType type : all_types) {
            // a mutated body may happen to be a good one of what is due; release is always good
            if (type == m.metadata.message_type || type == message::release ||
                type == message::evaluate)
                continue;
            if (type == message::finish && (m.metadata.message_type == message::evaluate ||
                                            m.metadata.message_type == message::commit))
                continue;
            if ((type == message::align || type == message::select || type == message::begin) &&
                m.metadata.message_type <= message::begin)
                continue;
            // the master alone knows which round of the solver is the last
            if (lbfgs && type == message::finish) continue;
            const auto answer = harness.ask(member, type, good[type]);
            // what is stored may be stored and listed again
            if ((type == message::finish || type == message::commit || type == message::commits) &&
                answer)
                continue;
            CHECK(!answer);
            if (!answer) {
                ++refused;
                CHECK(!answer.error().sentence.empty());
            }
        }
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(refused > (lbfgs ? 150 : 300));
    for (std::size_t p = 0; p < 3; ++p) CHECK(play.file(p) == reference.file(p));
}

TEST_CASE("malformed requests never crash a member") {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        World world;
        world.rows = 120;
        if (seed % 3 == 0) world.task = vflbus::Task::linear;
        Play play(world);
        if (seed % 3 == 0) use_solver(play.config.model, config::Solver::sequential);
        if (seed % 3 != 1) play.config.model.epochs = 2;
        if (seed % 3 == 1) use_solver(play.config.model, config::Solver::lbfgs);
        auto& harness = play.set();
        Rng rng(seed);
        std::size_t errors = 0;
        harness.on_request = [&](std::size_t member, Message& m) {
            for (int i = 0; i < 12; ++i) {
                const MessageType type =
                    i < 4 ? m.metadata.message_type : all_types[rng.below(std::size(all_types))];
                if (type == message::echo || type == message::release) continue;
                const auto answer = harness.ask(member, type, mutate(m.content, rng));
                errors += !answer;
                if (!answer) CHECK(!answer.error().sentence.empty());
            }
            return true;
        };
        // a mutated body may be a valid one, so the run may fail; it must end
        const Ending ending = play.play();
        CAPTURE(seed, ending.sentence);
        CHECK(ending.code != Errc::internal);
        CHECK(play.master->done());
        CHECK(errors > 10);
    }
}

TEST_CASE("malformed replies never crash a master") {
    std::size_t failed = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        World world;
        world.rows = 120;
        if (seed % 3 == 0) world.task = vflbus::Task::linear;
        Play play(world);
        if (seed % 3 == 0) use_solver(play.config.model, config::Solver::sequential);
        if (seed % 3 != 1) play.config.model.epochs = 1;
        if (seed % 3 == 1) use_solver(play.config.model, config::Solver::lbfgs);
        Rng rng(seed);
        const std::size_t when = rng.below(24);
        std::size_t seen = 0;
        play.set().on_reply_hook = [&](std::size_t, Message& m) {
            if (seen++ == when) m.content = mutate(m.content, rng);
            return true;
        };
        const Ending ending = play.play();
        CAPTURE(seed, ending.sentence);
        CHECK(ending.code != Errc::internal);
        CHECK(play.master->done());
        if (ending.code != Errc::ok) {
            ++failed;
            CHECK(ending.sentence.find("member-") != std::string::npos);
        }
    }
    CHECK(failed > 30);
}

TEST_CASE("a step out of order is refused and changes nothing") {
    Play play{World{}};
    auto& harness = play.set();
    bool asked = false;
    harness.on_request = [&](std::size_t member, Message& m) {
        if (m.metadata.message_type == message::step && member == 1) {
            const auto request = decode_step_request(m.content);
            models::Matrix r;
            copy_tensor(request->tensor, r);
            for (const std::uint64_t wrong : {request->step + 1, request->step - 1}) {
                const auto answer = harness.ask(1, message::step, encode_step(wrong, r));
                REQUIRE(!answer);
                CHECK(answer.error().sentence.find("where step " + std::to_string(request->step)) !=
                      std::string::npos);
                asked = true;
            }
            r.resize(r.rows() + 1, r.cols());
            const auto answer = harness.ask(1, message::step, encode_step(request->step, r));
            REQUIRE(!answer);
            CHECK(answer.error().code == Errc::malformed_message);
        }
        return true;
    };
    REQUIRE(play.play().code == Errc::ok);
    CHECK(asked);
    Play plain{World{}};
    REQUIRE(plain.play().code == Errc::ok);
    CHECK(plain.file(2) == play.file(2));
}
