#pragma once
// Every bound of the bus in one place, unit last in the name (docs/protocol.md, section 10).
// Those that a configuration may narrow are the defaults of `Limits` (core/limits.hpp).

#include <cstddef>
#include <cstdint>

namespace vflbus::bus {

inline constexpr std::size_t header_bytes = 97;
inline constexpr std::size_t frames_max = 2;
inline constexpr std::size_t frame_bytes_max = 2u << 20;
inline constexpr std::size_t chunk_bytes = 512u << 10;
inline constexpr std::size_t chunk_bytes_min = 4096;  // for all parts of a body except the last
inline constexpr std::uint64_t message_bytes_max = 1ULL << 30;
inline constexpr std::size_t control_body_bytes_max = 1u << 20;
inline constexpr std::size_t enrol_body_bytes_max = 4096;
inline constexpr std::size_t sentence_bytes_max = 4096;  // longer ones are cut
inline constexpr std::size_t features_max = 16;          // of a HELLO
inline constexpr std::size_t feature_bytes_max = 32;
// extensions in one HELLO, WELCOME, OPEN or JOIN: how many, and how many bytes in all
inline constexpr std::size_t extensions_max = 16;
inline constexpr std::size_t extension_bytes_max = 64u << 10;
inline constexpr std::size_t array_elements_max = 4096;
// in all arrays of one body together: small arrays that are nested could fill a gigabyte
inline constexpr std::size_t elements_in_total_max = 65'536;
inline constexpr std::size_t depth_max = 8;
inline constexpr std::size_t nodes_max = 4096;
inline constexpr std::size_t runs_max = 1024;
inline constexpr std::size_t participants_max = 4096;
inline constexpr std::size_t outstanding_requests_max = 16;
/// Unanswered at one node, of all nodes of a key: beyond that, each of them one.
inline constexpr std::size_t outstanding_of_key_max = 64;
inline constexpr std::uint64_t hop_window_bytes_min = 512u << 10;
inline constexpr std::uint64_t hop_window_bytes_max = 16u << 20;
// a sender sends a MARK after so many bytes
inline constexpr std::uint64_t mark_every_bytes = 256u << 10;
// so many bytes more than the window may be under way when control frames are sent
inline constexpr std::uint64_t control_allowance_bytes = 1u << 20;
// WINDOW frames may have so many bytes under way, and `mark_every_bytes` more, in any case
inline constexpr std::uint64_t report_allowance_bytes = 128u << 10;
// frames passed on in the buffer they came in: a small one may keep a buffer of 18 KiB alive
inline constexpr std::uint64_t shared_frames_max = 3'000;
inline constexpr std::uint64_t broker_queue_bytes_max = 64u << 20;
// a waiting frame is counted with so many bytes more than it has
inline constexpr std::size_t waiting_frame_bytes = 256;
// control frames that wait at a broker for a node whose connection takes no more: in all, from
// other nodes, and from one other node
inline constexpr std::size_t control_queue_frames_max = 16'384;
inline constexpr std::uint64_t control_queue_bytes_max = 64u << 20;
inline constexpr std::size_t passed_on_frames_max = 8'192;
inline constexpr std::uint64_t passed_on_bytes_max = 32u << 20;
inline constexpr std::size_t passed_on_of_one_frames_max = 2'048;
inline constexpr std::uint64_t passed_on_of_one_bytes_max = 4u << 20;
inline constexpr std::uint64_t body_budget_bytes = 256u << 20;
// bodies without room: small ones, and the first parts of large ones before they get room
inline constexpr std::uint64_t unasked_budget_bytes = 256u << 20;
// each body without room is counted with so many bytes more than it has
inline constexpr std::uint64_t unasked_overhead_bytes = 512;
inline constexpr std::uint64_t credit_free_bytes = 64u << 10;  // a body up to here needs no credit
inline constexpr std::uint64_t credit_first_bytes = 1u << 20;  // of a larger one, before CREDIT
// the first chunk of a body whose rest travels on bulk connections
inline constexpr std::uint64_t bulk_lead_bytes = 256u << 10;
// bulk connections carry small parts, so that no small message waits long for a thread
inline constexpr std::size_t bulk_chunk_bytes = 64u << 10;
// a bulk connection may always have this much under way, also while other runs send small messages
inline constexpr std::uint64_t bulk_beside_bytes = 192u << 10;
inline constexpr std::uint64_t credit_share_bytes_min = 1u << 20;
inline constexpr std::uint64_t credit_share_bytes_max = 8u << 20;
inline constexpr std::uint64_t credit_total_bytes = 32u << 20;  // granted and not yet here
inline constexpr std::size_t drr_quantum_bytes = 64u << 10;
inline constexpr std::size_t anonymous_connections_max = 4096;
// a message whose last part has not come: so much more than one frame on a connection, and in all
inline constexpr std::uint64_t unfinished_allowance_bytes = 128u << 10;
inline constexpr std::uint64_t unfinished_bytes_max = 64u << 20;
// OPEN and JOIN bodies that a broker keeps while runs are open: of one node; OPEN of all nodes
inline constexpr std::uint64_t kept_of_one_bytes_max = 16u << 20;
inline constexpr std::uint64_t kept_opens_bytes_max = 256u << 20;
// how runs ended, for participants that come late: how many, their bytes, and for how long
inline constexpr std::size_t ended_runs_max = 1024;
inline constexpr std::uint64_t ended_bytes_max = 8u << 20;
inline constexpr int ended_memory_s = 600;
// the sender of a HELLO, OPEN or JOIN pays for what the broker tells others about it: each frame
// that is sent to another node costs one
inline constexpr double announcements_at_once = 65'536;
inline constexpr double announcements_per_second = 16'384;
// answers to a connection that has not said HELLO
inline constexpr double stranger_answers_at_once = 64;
inline constexpr double stranger_answers_per_second = 8;
/// PING of one node, on both of its connections. Its beat is its own: of the shortest that a
/// configuration may state (10 ms) there are 200 a second.
inline constexpr double pings_at_once = 256;
inline constexpr double pings_per_second = 256;
inline constexpr std::size_t queries_max = 16;  ///< unanswered, per asker
/// Of what CLOSE has sealed for one participant, and for all of them.
inline constexpr std::size_t sealed_ending_bytes_max = 4096 + 64;
inline constexpr std::size_t sealed_endings_bytes_max = 512u << 10;
inline constexpr std::size_t queries_of_key_max = 64;  ///< the same of all who ask with one key
inline constexpr double questions_of_key_at_once = 256;
inline constexpr double questions_of_key_per_second = 64;
inline constexpr std::size_t noted_runs_max = 16'384;  ///< runs that wait at serving masters
/// A master that comes back notes all that wait at it.
inline constexpr double notes_of_key_at_once = noted_runs_max;
inline constexpr double notes_of_key_per_second = 256;
inline constexpr int query_memory_s = 60;  ///< the broker passes answers on for so long
inline constexpr int query_again_s = 1;  ///< and a repeated question after so long at the earliest
inline constexpr std::size_t query_body_bytes_max = 128u << 10;
inline constexpr std::size_t answer_body_bytes_max = 256u << 10;
inline constexpr std::size_t rows_max = 500;  ///< in one answer
inline constexpr std::size_t row_names_max = 256;
inline constexpr std::size_t row_bytes_max = 32u << 10;  ///< a larger one is left out

static_assert(chunk_bytes + header_bytes <= frame_bytes_max);
static_assert(credit_free_bytes <= chunk_bytes && chunk_bytes <= credit_first_bytes);
static_assert(chunk_bytes_min <= bulk_chunk_bytes && bulk_chunk_bytes <= chunk_bytes);
static_assert(2 * bulk_chunk_bytes <= bulk_beside_bytes);
static_assert(credit_free_bytes <= bulk_lead_bytes && bulk_lead_bytes <= chunk_bytes);
static_assert(control_body_bytes_max <= frame_bytes_max);
static_assert(sentence_bytes_max + row_names_max * 69 + 1024 <= row_bytes_max);
static_assert(answer_body_bytes_max <= control_body_bytes_max);
static_assert(hop_window_bytes_max < broker_queue_bytes_max);
static_assert(runs_max < passed_on_of_one_frames_max);  // an OPEN or JOIN of each
static_assert(sealed_endings_bytes_max + sentence_bytes_max < ended_bytes_max);
static_assert(extension_bytes_max + 2 * sentence_bytes_max < passed_on_of_one_bytes_max);

}  // namespace vflbus::bus
