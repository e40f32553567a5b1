#pragma once
// One HTTP request to a server that may be dead, silent or slow. Only http_client.cpp sees libcurl.

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "base/errc.hpp"

namespace vflbus::observers {

struct HttpRequest {
    std::string method = "GET";
    std::string url;
    std::string body = {};
    std::string type = "application/json";
    std::string socket_file = {};  ///< the server listens there, whatever host `url` names
};

struct HttpReply {
    long status = 0;
    std::string body;  ///< 4 MiB at most; the rest is dropped
};

/// Who asks. Proxies are those of the environment (http_proxy, https_proxy, no_proxy).
struct HttpIdentity {
    std::string token;  ///< Authorization: Bearer
    std::string user;
    std::string password;
    bool insecure_tls = false;       ///< any certificate will do
    std::string server_certificate;  ///< a file of certificates that are believed
    std::string client_certificate;
    /// What MLflow's own client reads: MLFLOW_TRACKING_TOKEN, _USERNAME, _PASSWORD, _INSECURE_TLS,
    /// _SERVER_CERT_PATH, _CLIENT_CERT_PATH.
    static HttpIdentity of_mlflow_environment();
};

/// Sends it and waits for the reply, whatever its status. Errors: unreachable with the reason;
/// cancelled soon after `cancelled` was set; timed_out.
Result<HttpReply> send(const HttpRequest& request, const HttpIdentity& identity,
                       std::chrono::milliseconds patience, const std::atomic<bool>& cancelled);

/// The text as part of a URL's path or query.
std::string url_escaped(std::string_view text);

}  // namespace vflbus::observers
