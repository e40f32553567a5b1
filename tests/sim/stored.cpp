#include "stored.hpp"

#include <cstdlib>

#include "actors/messages.hpp"
#include "actors/run/run_record.hpp"
#include "bus/wire/control.hpp"

namespace vflbus::sim {

using bus::Header;
using bus::Kind;

std::string StoredFirst::on_send(const Header& header, std::span<const std::uint8_t> part) {
    const bool error = (header.flags & bus::flag::error) != 0;
    if (header.kind == Kind::open) return term_of_owner(header);
    if (header.kind == Kind::join) return term_of_member(header, part);
    if (header.kind == Kind::request && header.type == actors::message::release)
        return finished(header);
    if (header.kind == Kind::reply && header.type == actors::message::commit && !error)
        return commit(header, part);
    return {};
}

std::string StoredFirst::term_of_owner(const Header& open) const {
    const auto path = actors::run_record_path(runs_dir_, open.run);
    const auto text = disk_->stored(path);
    const auto record = text ? actors::parse_run_record(*text, path.string())
                             : fail(Errc::state_lost, "it is not there");
    if (record && record->term >= open.term) return {};
    return party_ + " opens term " + std::to_string(open.term) + " that it has not stored";
}

/// (Once: it is said again after reconnects, also when all was removed because the run is over.)
std::string StoredFirst::term_of_member(const Header& join, std::span<const std::uint8_t> body) {
    const auto said = bus::decode_join(body);
    if (!said || said->code != Errc::ok || !joined_.emplace(join.run, join.term).second) return {};
    const auto term = disk_->stored(state_of(join.run) / "term");
    if (term && std::strtoul(term->c_str(), nullptr, 10) >= join.term) return {};
    return party_ + " joins term " + std::to_string(join.term) + " that it has not stored";
}

std::string StoredFirst::commit(const Header& reply, std::span<const std::uint8_t> body) const {
    const auto said = actors::decode_commit_reply(body);
    if (!said) return {};
    const auto file = disk_->stored(state_of(reply.run) / ("commit-" + std::to_string(said->step)));
    if (file && hash256(*file) == said->digest) return {};
    return party_ + " reports commit " + std::to_string(said->step) + " that it has not stored";
}

std::string StoredFirst::finished(const Header& release) const {
    const auto path = actors::run_record_path(runs_dir_, release.run);
    const auto text = disk_->stored(path);
    const auto record = text ? actors::parse_run_record(*text, path.string())
                             : fail(Errc::state_lost, "it is not there");
    if (record && record->phase == actors::RunRecord::Phase::finished &&
        disk_->stored(runs_dir_ / release.run.hex() / "report.json"))
        return {};
    return party_ + " releases the members before it has stored that all is written";
}

std::string StoredFirst::on_restored(const RunId& run, std::uint64_t step) const {
    std::string out;
    const std::string prefix = (state_of(run) / "commit-").string();
    disk_->for_each_file([&](const std::string& path, const std::string&) {
        if (path.starts_with(prefix) && !path.ends_with(".tmp") &&
            std::strtoull(path.c_str() + prefix.size(), nullptr, 10) > step)
            out = party_ + " has restored step " + std::to_string(step) + " and keeps " + path;
    });
    return out;
}

}  // namespace vflbus::sim
