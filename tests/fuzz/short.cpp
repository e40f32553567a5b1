// The short form of fuzzing, without libFuzzer: every target tries its seeds, what has failed
// before (corpus/), and some thousand inputs that were made of these by changing them. The same
// inputs every time.
//
//     fuzz-short CORPUS-DIRECTORY [--inputs N] [--target NAME]

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/rng.hpp"
#include "targets.hpp"

namespace vflbus::fuzz {
namespace {

struct Wanted {
    std::string corpus;
    std::string target;  ///< empty: all
    std::uint64_t inputs = 20'000;
};

/// One to four changes: a bit, a byte, a telling number, a part taken out, doubled or moved in from
/// another input, a cut.
Bytes changed(const std::vector<Bytes>& from, Rng& rng) {
    static constexpr std::uint8_t telling[] = {0x00, 0x01, 0x7F, 0x80, 0xC0, 0xC4, 0xC6, 0xCF,
                                               0xD9, 0xDB, 0xDD, 0xDF, 0xFF, ',',  '"',  '\n'};
    Bytes out = from[rng.next() % from.size()];
    for (std::uint64_t left = 1 + rng.next() % 4; left > 0; --left) {
        const std::size_t at = out.empty() ? 0 : rng.next() % out.size();
        const auto place = out.begin() + static_cast<std::ptrdiff_t>(at);
        const std::size_t rest = out.size() - at;
        const auto count = static_cast<std::ptrdiff_t>(
            rest == 0 ? 0 : 1 + rng.next() % std::min<std::size_t>(rest, 16));
        switch (rng.next() % 7) {
            case 0:
                if (rest > 0) out[at] ^= static_cast<std::uint8_t>(1u << rng.next() % 8);
                break;
            case 1:
                if (rest > 0) out[at] = static_cast<std::uint8_t>(rng.next());
                break;
            case 2:
                if (rest > 0) out[at] = telling[rng.next() % sizeof telling];
                break;
            case 3:
                out.erase(place, place + count);
                break;
            case 4: {
                const Bytes part(place, place + count);
                out.insert(place, part.begin(), part.end());
                break;
            }
            case 5: {
                const Bytes& other = from[rng.next() % from.size()];
                if (other.empty()) break;
                const auto first = static_cast<std::ptrdiff_t>(rng.next() % other.size());
                out.insert(place, other.begin() + first, other.end());
                break;
            }
            default:
                out.erase(place, out.end());
                break;
        }
    }
    if (out.size() > 4096) out.resize(4096);
    return out;
}

/// Prints one line. False when a seed is refused: then the target tries nothing worth trying.
bool try_target(const Target& target, const Wanted& wanted) {
    std::vector<Bytes> all = target.seeds();
    for (std::size_t i = 0; i < all.size(); ++i)
        if (!target.try_input(all[i])) {
            std::fprintf(stderr, "%s: seed %zu is refused\n", std::string(target.name).c_str(), i);
            return false;
        }
    for (Bytes& bytes : failed_before(wanted.corpus, target.name)) {
        (void)target.try_input(bytes);
        all.push_back(std::move(bytes));
    }
    const std::size_t known = all.size();
    Rng rng(1);
    std::uint64_t accepted = 0;
    for (std::uint64_t i = 0; i < wanted.inputs; ++i) {
        Bytes input = changed(all, rng);
        if (!target.try_input(input)) continue;
        ++accepted;
        if (all.size() < known + 200) all.push_back(std::move(input));
    }
    std::printf("%-10s %5zu known inputs, %llu changed ones, %llu of them accepted\n",
                std::string(target.name).c_str(), known,
                static_cast<unsigned long long>(wanted.inputs),
                static_cast<unsigned long long>(accepted));
    if (accepted == 0)
        std::fprintf(stderr, "%s: no changed input is accepted\n",
                     std::string(target.name).c_str());
    return accepted > 0;
}

int run(int argc, char** argv) {
    Wanted wanted;
    for (int i = 1; i < argc; ++i) {
        const bool more = i + 1 < argc;
        if (std::strcmp(argv[i], "--inputs") == 0 && more)
            wanted.inputs = std::stoull(argv[++i]);
        else if (std::strcmp(argv[i], "--target") == 0 && more)
            wanted.target = argv[++i];
        else
            wanted.corpus = argv[i];
    }
    if (!std::filesystem::is_directory(wanted.corpus)) {
        std::fprintf(stderr, "there is no directory %s\n", wanted.corpus.c_str());
        return 1;
    }
    bool good = true;
    bool found = false;
    for (const Target& target : targets()) {
        if (!wanted.target.empty() && target.name != wanted.target) continue;
        found = true;
        good = try_target(target, wanted) && good;
    }
    if (!found) std::fprintf(stderr, "no target is called %s\n", wanted.target.c_str());
    return good && found ? 0 : 1;
}

}  // namespace
}  // namespace vflbus::fuzz

int main(int argc, char** argv) {
    return vflbus::fuzz::run(argc, argv);
}
