#pragma once
// Handlers belong to users and may throw anything. The node's own threads must survive that and
// name the cause in a sentence.

#include <exception>
#include <new>
#include <string>

namespace vflbus::actors {

/// Of the exception that is being handled: "out of memory", the text of `what()`, or "something
/// that is no exception". Call it within a `catch`.
inline std::string what_was_thrown() {
    try {
        throw;
    } catch (const std::bad_alloc&) {
        return "out of memory";
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "something that is no exception";
    }
}

}  // namespace vflbus::actors
