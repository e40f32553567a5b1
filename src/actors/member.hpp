#pragma once
// The member: a ClientApp that serves any number of runs, each with its own state. Its states and
// messages are docs/training.md, sections 2 and 3.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "actors/env.hpp"
#include "actors/node/app.hpp"
#include "actors/tables.hpp"
#include "config/config.hpp"
#include "observe/log.hpp"
#include "policy/request.hpp"

namespace vflbus::actors {

/// One line about a change of state; `step` only while training.
using LogHook =
    std::function<void(observe::log::Level level, const RunId& run, const std::string& text)>;

struct MemberOptions {
    std::string name;       ///< "member-2"
    config::Config config;  ///< the private half, and the agreed one when it is stated
    TableSource tables;     ///< csv_tables(config, name) in a process
    /// What is common, of a member that takes part in checks alone: other runs are declined. May be
    /// empty.
    CommonSink on_common;
    Env* env = nullptr;               ///< must outlive the app
    std::filesystem::path runs_dir;   ///< its part goes to runs_dir/<run_id>/<name>/model.json
    std::filesystem::path out_dir;    ///< when not empty: to out_dir/<name>/model.json
    std::filesystem::path model_dir;  ///< predict: parts are in model_dir/<name>/ (empty: runs_dir)
    LogHook log;
    policy::Judge* judge = nullptr;  ///< lets runs in, or not; null: all. Must outlive the app
};

ClientApp make_member_app(MemberOptions options);

}  // namespace vflbus::actors
