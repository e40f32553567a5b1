// docs/privacy.md, section 5, lists every field of every message between master, members and
// arbiter. Here whole trainings are written down message by message, and each field has to be one
// of that list.

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <tuple>

#include "actors/alignment/shared_alignment.hpp"
#include "actors/training/linear/lbfgs/messages.hpp"
#include "actors/training/linear/messages.hpp"
#include "catch.hpp"
#include "world.hpp"

using namespace vflbus;
using namespace vflbus::actors;
using namespace vflbus::actors::test;

namespace {

// -- what a body holds --------------------------------------------------------------------

/// Reads msgpack without knowing the message: what sort of value each element is.
class Sorts {
  public:
    explicit Sorts(std::span<const std::uint8_t> body) : body_(body) {}

    /// Of the elements of the outer array.
    std::vector<std::string> all() {
        std::vector<std::string> out;
        for (std::size_t left = array(); left > 0; --left) out.push_back(next());
        REQUIRE(at_ == body_.size());
        return out;
    }

  private:
    std::uint64_t word(std::size_t bytes) {
        REQUIRE(at_ + bytes <= body_.size());
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | body_[at_++];
        return value;
    }
    [[nodiscard]] bool array_is_next() const {
        const std::uint8_t marker = body_[at_];
        return marker >> 4 == 9 || marker == 0xdc || marker == 0xdd;
    }
    std::size_t array() {
        const std::uint64_t marker = word(1);
        if (marker == 0xdc) return word(2);
        if (marker == 0xdd) return word(4);
        REQUIRE(marker >> 4 == 9);
        return marker & 15;
    }
    std::string text(std::size_t bytes) {
        REQUIRE(at_ + bytes <= body_.size());
        const std::string out(body_.begin() + static_cast<std::ptrdiff_t>(at_),
                              body_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes));
        at_ += bytes;
        last_bytes_ = bytes;
        return out;
    }
    std::string next() {
        if (array_is_next()) return array_of();
        const std::uint64_t marker = word(1);
        if (marker < 0x80 || marker >= 0xe0) return "number";
        if (marker >> 5 == 5) return text_of(marker & 31);
        if (marker == 0xc2 || marker == 0xc3) return "flag";
        if (marker >= 0xc4 && marker <= 0xc6) {
            text(word(std::size_t{1} << (marker - 0xc4)));
            return "bytes";
        }
        if (marker == 0xcb) return word(8), "real";
        if (marker >= 0xcc && marker <= 0xcf)
            return word(std::size_t{1} << (marker - 0xcc)), "number";
        if (marker >= 0xd0 && marker <= 0xd3)
            return word(std::size_t{1} << (marker - 0xd0)), "number";
        REQUIRE((marker >= 0xd9 && marker <= 0xdb));
        return text_of(word(std::size_t{1} << (marker - 0xd9)));
    }
    std::string text_of(std::size_t bytes) {
        last_text_ = text(bytes);
        return "text";
    }
    /// A tensor, which is a list of a type, a shape and bytes, or a list of anything else.
    std::string array_of() {
        const std::size_t elements = array();
        std::vector<std::string> sorts;
        std::string type;
        for (std::size_t i = 0; i < elements; ++i) {
            sorts.push_back(next());
            if (i == 0 && sorts[0] == "text") type = last_text_;
        }
        if (sorts != std::vector<std::string>{"text", "list", "bytes"}) return "list";
        if (last_bytes_ == 0) return "nothing";
        REQUIRE((type == "f64" || type == "u64"));
        return type == "f64" ? "reals" : "integers";
    }

    std::span<const std::uint8_t> body_;
    std::size_t at_ = 0;
    std::string last_text_;
    std::size_t last_bytes_ = 0;
};

// -- the page -----------------------------------------------------------------------------

struct Row {
    std::string message;
    std::set<std::string> with;  ///< protocols, kinds of alignment, or "all"
    std::string from;
    std::vector<std::string> sorts;
    mutable bool seen = false;
};

std::vector<std::string> cells_of_row(const std::string& line) {
    std::vector<std::string> out;
    std::istringstream in(line.substr(2));
    for (std::string cell; std::getline(in, cell, '|');) {
        const auto end = cell.find_last_not_of(' ');
        const auto begin = cell.find_first_not_of(' ');
        out.push_back(end == std::string::npos ? "" : cell.substr(begin, end + 1 - begin));
    }
    return out;
}

std::vector<Row> rows_of_the_page() {
    std::ifstream in(VFLBUS_SOURCE "/docs/privacy.md");
    std::vector<Row> out;
    bool section = false;
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("## ")) section = line.starts_with("## 5.");
        if (!section || !line.starts_with("| ") || line.starts_with("| message")) continue;
        const std::vector<std::string> cell = cells_of_row(line);
        REQUIRE(cell.size() == 4);
        Row row{cell[0], {}, cell[2], {}};
        std::istringstream with(cell[1]);
        for (std::string word; with >> word;) {
            if (word.ends_with(",")) word.pop_back();
            row.with.insert(word);
        }
        // `name: sort`
        for (std::size_t at = cell[3].find('`'); at != std::string::npos;) {
            const std::size_t end = cell[3].find('`', at + 1);
            const std::string field = cell[3].substr(at + 1, end - at - 1);
            REQUIRE(field.find(": ") != std::string::npos);
            row.sorts.push_back(field.substr(field.rfind(": ") + 2));
            at = cell[3].find('`', end + 1);
        }
        out.push_back(std::move(row));
    }
    REQUIRE(out.size() > 20);
    return out;
}

/// One message as a training had it.
struct Said {
    std::string protocol;
    std::string alignment;
    std::string message;
    std::string from;
    std::vector<std::string> sorts;
    auto operator<=>(const Said&) const = default;
};

/// The elements of a body. Stored commits are any number of lists in one.
std::vector<std::string> sorts_of(MessageType type, bool reply,
                                  std::span<const std::uint8_t> body) {
    std::vector<std::string> sorts = Sorts(body).all();
    if (type != message::commits || !reply) return sorts;
    for (const std::string& sort : sorts) REQUIRE(sort == "list");
    return {"list"};
}

std::string text_of(const Said& said) {
    std::string out =
        said.message + " | " + said.protocol + ", " + said.alignment + " | " + said.from + " |";
    for (const std::string& sort : said.sorts) out += " " + sort;
    return out;
}

/// Whether the page has a row with exactly these fields. An empty tensor says nothing.
bool listed(const std::vector<Row>& page, const Said& said) {
    bool found = false;
    for (const Row& row : page) {
        bool same = row.message == said.message && row.from == said.from &&
                    row.sorts.size() == said.sorts.size() &&
                    (row.with.contains("all") || row.with.contains(said.protocol) ||
                     row.with.contains(said.alignment));
        for (std::size_t i = 0; same && i < row.sorts.size(); ++i)
            same = row.sorts[i] == said.sorts[i] ||
                   (said.sorts[i] == "nothing" &&
                    (row.sorts[i] == "reals" || row.sorts[i] == "integers"));
        if (same) row.seen = found = true;
    }
    return found;
}

// -- trainings ----------------------------------------------------------------------------

std::string name_of_message(MessageType type) {
    if (type == linear::product_message) return "product";
    if (type == linear::iterate_message) return "iterate";
    return message::name_of(type);
}

/// Every message of a run that is set up.
void listen(Play& play, std::set<Said>& transcript) {
    const std::string protocol(config::name_of(play.config.run.protocol));
    const std::string alignment(config::name_of(play.config.data.alignment));
    auto& harness = *play.harness;
    harness.on_request = [=, &transcript](std::size_t, Message& request) {
        transcript.insert({protocol, alignment, name_of_message(request.metadata.message_type),
                           "master",
                           sorts_of(request.metadata.message_type, false, request.content)});
        return true;
    };
    harness.on_reply_hook = [=, &play, &transcript](std::size_t party, Message& reply) {
        if (reply.has_content())
            transcript.insert({protocol, alignment, name_of_message(reply.metadata.message_type),
                               party == play.world.members ? "arbiter" : "member",
                               sorts_of(reply.metadata.message_type, true, reply.content)});
        return true;
    };
}

/// Every message of one training whose master is resumed once.
void write_down(Play& play, std::set<Said>& transcript) {
    auto& harness = play.set();
    listen(play, transcript);
    bool resumed = false;
    harness.before_event = [&](std::size_t) {
        // once there is something to restore
        if (resumed || play.env.list("runs").value_or(std::vector<std::string>{}).empty()) return;
        if (play.harness->pushed < 40 || play.record().commits.empty()) return;
        resumed = true;
        play.resume_master();
    };
    const Ending ending = play.play();
    INFO(ending.sentence);
    REQUIRE(ending.code == Errc::ok);
    CHECK(resumed);
}

/// What columns tell of the label, under each protocol.
void all_figures(std::set<Said>& transcript) {
    using config::Protocol;
    for (const Protocol protocol :
         {Protocol::honest, Protocol::masked, Protocol::encrypted, Protocol::arbitered}) {
        World world;
        world.rows = 120;
        Play play(world);
        play.config.run.protocol = protocol;
        auto master = make_features_master(play.master_options());
        REQUIRE(master);
        play.set(std::move(*master));
        listen(play, transcript);
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
    }
}

/// A training that goes on from the alignment of one before it, with the same members.
void shared_alignment(std::set<Said>& transcript) {
    World world;
    world.rows = 120;
    Play play(world);
    std::vector<ClientApp> apps;
    for (std::size_t rank = 0; rank < world.members; ++rank) apps.push_back(play.member(rank));
    RunId name;
    name.bytes[0] = 7;
    RunId last = play.run;
    last.bytes[0] = 2;
    const auto shared = std::make_shared<SharedAlignment>(name, std::set<RunId>{last});
    for (const std::uint8_t number : {1, 2}) {
        play.run.bytes[0] = number;
        MasterOptions options = play.master_options();
        options.alignment = shared;
        auto master = make_train_master(std::move(options));
        REQUIRE(master);
        Harness& harness = play.set(std::move(*master));
        for (std::size_t rank = 0; rank < apps.size(); ++rank)
            harness.serve(rank, ClientApp(apps[rank]));
        listen(play, transcript);
        const Ending ending = play.play();
        INFO(ending.sentence);
        REQUIRE(ending.code == Errc::ok);
    }
}

std::set<Said> all_trainings() {
    std::set<Said> transcript;
    using config::Alignment;
    using config::Protocol;
    using config::Solver;
    for (const Protocol protocol :
         {Protocol::honest, Protocol::masked, Protocol::encrypted, Protocol::arbitered})
        for (const Solver solver : {Solver::sgd, Solver::lbfgs, Solver::sequential})
            for (const Alignment alignment :
                 {Alignment::hashed, Alignment::psi, Alignment::plain}) {
                if (solver == Solver::sequential && protocol != Protocol::honest) continue;
                if (solver == Solver::lbfgs && protocol == Protocol::arbitered) continue;
                // (what is said after an alignment does not depend on it)
                if (alignment == Alignment::plain &&
                    (protocol != Protocol::honest || solver != Solver::sgd))
                    continue;
                World world;
                world.solver = solver;
                if (solver == Solver::sequential) world.task = vflbus::Task::linear;
                world.rows = 120;
                Play play(world);
                play.config.run.protocol = protocol;
                play.config.run.he_key_bits = 512;
                play.config.run.insecure_testing = true;
                play.config.data.alignment = alignment;
                play.config.bus.commit_steps = 3;
                if (solver != Solver::lbfgs) play.config.model.epochs = 3;
                write_down(play, transcript);
            }
    World world;
    world.name = config::ModelName::mlp;
    world.rows = 120;
    world.early = true;
    Play play(world);
    play.config.bus.commit_steps = 3;
    write_down(play, transcript);
    world.early = false;
    Play masked(world);
    masked.config.run.protocol = config::Protocol::masked;
    masked.config.model.combine = config::Combine::sum;
    masked.config.bus.commit_steps = 3;
    write_down(masked, transcript);
    Play encrypted(world);
    encrypted.config.run.protocol = config::Protocol::encrypted;
    encrypted.config.model.bottom = "5";
    encrypted.config.model.combine = config::Combine::sum;
    encrypted.config.bus.commit_steps = 3;
    write_down(encrypted, transcript);
    all_figures(transcript);
    shared_alignment(transcript);
    return transcript;
}

}  // namespace

TEST_CASE("every field of every message of a training is one that docs/privacy.md lists") {
    const std::vector<Row> page = rows_of_the_page();
    const std::set<Said> transcript = all_trainings();
    for (const Said& said : transcript) {
        INFO("not on the page: " << text_of(said));
        CHECK(listed(page, said));
    }
    // and nothing is listed that does not travel
    for (const Row& row : page) {
        INFO("not in any training: " << row.message << " of the " << row.from);
        CHECK(row.seen);
    }
    CHECK_FALSE(listed(page, {"arbitered", "psi", "begin", "member", {"number", "reals"}}));
    // a residual in the clear under `encrypted`, and a field more, would be seen
    CHECK_FALSE(listed(page, {"encrypted", "psi", "step", "master", {"number", "reals"}}));
    CHECK_FALSE(listed(page, {"honest", "psi", "step", "master", {"number", "reals", "number"}}));
    CHECK_FALSE(listed(page, {"masked", "psi", "step", "member", {"reals"}}));
    // labels in the clear where the protocol hides them
    for (const char* const protocol : {"masked", "encrypted", "arbitered"})
        CHECK_FALSE(listed(page, {protocol, "psi", "describe", "master", {"bytes", "bytes"}}));
}
