#include "targets.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "seeds.hpp"

namespace vflbus::fuzz {

std::span<const Target> targets() {
    static const std::vector<Target> all = [] {
        std::vector<Target> there;
        for (const Target* const target :
             {&header_target,     &control_target,     &questions_target, &sealed_target,
              &broker_target,     &broker_keys_target, &link_target,      &training_target,
              &apps_target,       &tables_target,      &pictures_target,  &config_target,
              &model_target,      &commit_target,      &report_target,    &allow_list_target,
              &invitation_target, &psi_target,         &audit_target,     &policy_target})
            if (target != nullptr) there.push_back(*target);
        return there;
    }();
    return all;
}

std::vector<Bytes> failed_before(const std::string& directory, std::string_view target) {
    std::ifstream in(directory + "/" + std::string(target) + ".hex");
    std::vector<Bytes> out;
    for (std::string line; std::getline(in, line);) {
        line.erase(std::min(line.find('#'), line.size()));
        Bytes bytes;
        for (std::size_t i = 0; i + 1 < line.size() && line[i] != ' '; i += 2)
            bytes.push_back(static_cast<std::uint8_t>(std::stoi(line.substr(i, 2), nullptr, 16)));
        if (!bytes.empty()) out.push_back(std::move(bytes));
    }
    return out;
}

void require(bool holds, std::string_view what) {
    if (holds) return;
    std::fprintf(stderr, "fault: %.*s\n", static_cast<int>(what.size()), what.data());
    std::abort();
}

}  // namespace vflbus::fuzz
