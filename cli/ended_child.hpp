#pragma once
// Why a child process has ended: what it has said itself, or how it ended.

#include <optional>
#include <string>

#include "base/errc.hpp"
#include "process.hpp"

namespace vflbus::cli {

/// What a child has said itself about why it failed, as JSON on its standard output; none when it
/// was killed or broke down before it could.
std::optional<Failure> said_by(const Child& child);
/// "member-1 was ended by signal 9 (Killed)", or what podman said about it.
std::string end_of(const Child& child);
/// "; its log is ...", if it has one.
std::string log_of(const Child& child);
/// What it said, otherwise how it ended and where its log is; the sentence names it.
Failure failure_of(const Child& child);

/// The failure with "member-1: " in front of its sentence and as its party, unless it has a party
/// already: then its sentence can stand alone.
Failure named(const std::string& who, Failure failure);

}  // namespace vflbus::cli
