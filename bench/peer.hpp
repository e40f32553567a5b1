#pragma once
// Raw DEALERs that speak the least of the protocol: HELLO, OPEN, JOIN, then REQUEST and REPLY
// frames with valid headers. The same code talks to the broker and to the relay; the relay needs
// neither HELLO nor WINDOW, and addresses are slots instead of node ids.
//
// Bytes in flight, equal on both sides: the producer has at most 1 MiB (header and body) sent and
// not yet reported by the consumer, which reports every 128 KiB with an empty REPLY. Not equal:
// through the broker the hop windows of docs/protocol.md, section 7, hold as well, in both
// directions, so that for each 128 KiB it handles two WINDOWs that the relay knows nothing of.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bus/keys/key_files.hpp"

namespace vflbus::bench {

/// The `role` subcommand: what child processes of the bench run. Returns the exit code.
int run_role(const std::vector<std::string>& arguments);

/// `peer SYSTEM ENDPOINT SLOT PEERS`: SYSTEM is broker or relay; slot 1 owns the run, 2 to PEERS
/// take part. Prints `ready`, then obeys lines on standard input:
///   produce MS BODY CREDIT   (slot 1)  sends to slot 2 for MS milliseconds   -> done MESSAGES
///   consume                  (others)                 -> done MESSAGES BYTES SECONDS
///   ping COUNT BODY          (slot 1)  to slot 2, one at a time -> done P50 P99 MEAN (seconds)
///   scatter COUNT BODY       (slot 1)  to all others, then waits for all replies -> done SECONDS
///   serve BODY               (others)  answers each request until the end of it  -> done
int run_peer(const std::vector<std::string>& arguments);

/// `broker ENDPOINT [CERTIFICATES]`: a broker as `vflbus broker` runs it; prints its endpoint.
int run_broker(const std::vector<std::string>& arguments);

/// What a role is told of keys: "" in the clear, a directory, or this and a directory: with CURVE
/// and without sealing.
inline constexpr std::string_view unsealed = "unsealed:";
bus::KeySource keys_of(const std::string& text);
/// Keys of parties (name and role), and the allow-list of them, in `directory`, which is returned.
std::string make_keys(const std::string& directory,
                      const std::vector<std::pair<std::string, std::string>>& parties);

/// `sharer BROKER owner|other [KEYS]`: sharing.cpp.
int run_sharer(const std::vector<std::string>& arguments);
/// `attacker BROKER KEYS garbage|deaf|questions|revoked`: what a peer with the key of `rival` can
/// do that means no good; until it is killed. Prints `ready`, and `done` when there is no more to
/// send.
int run_attacker(const std::vector<std::string>& arguments);
/// `master BROKER STATE_DIR`, `member BROKER STATE_DIR RANK`: step.cpp.
int run_step_master(const std::vector<std::string>& arguments);
int run_step_member(const std::vector<std::string>& arguments);

/// `csv FILE THREADS`: reads the file -> SECONDS CPU_SECONDS ROWS CELLS PEAK_BYTES (beyond the
/// start)
int run_csv(const std::vector<std::string>& arguments);
/// solver ROWS COLUMNS: trains to convergence; prints processor seconds, round trips, peak memory.
int run_solver(const std::vector<std::string>& arguments);
/// The parties of section predict.
int run_predict_master(const std::vector<std::string>& arguments);
int run_predict_member(const std::vector<std::string>& arguments);

}  // namespace vflbus::bench
