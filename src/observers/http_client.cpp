#include "observers/http_client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace vflbus::observers {
namespace {

constexpr std::size_t reply_bytes_max = std::size_t{4} << 20;
constexpr long connect_patience_ms = 5000;

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? std::string() : value;
}

std::size_t take(char* data, std::size_t size, std::size_t count, void* to) {
    auto& body = *static_cast<std::string*>(to);
    const std::size_t bytes = size * count;
    body.append(data, std::min(bytes, reply_bytes_max - std::min(reply_bytes_max, body.size())));
    return bytes;
}

int look_at_cancelled(void* cancelled, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return *static_cast<const std::atomic<bool>*>(cancelled) ? 1 : 0;
}

struct Closes {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

/// Added to `why` a server of `url` was not reached, when the proxy is named there in its place.
std::string proxy_hint(const std::string& url, const std::string& why) {
    const bool tls = url.starts_with("https:");
    for (const char* const name :
         {tls ? "https_proxy" : "http_proxy", tls ? "HTTPS_PROXY" : "", "all_proxy", "ALL_PROXY"}) {
        std::string proxy = *name == '\0' ? std::string() : variable(name);
        if (const std::size_t scheme = proxy.find("://"); scheme != std::string::npos)
            proxy.erase(0, scheme + 3);
        proxy.erase(0, proxy.find('@') + 1);
        proxy.erase(std::min(proxy.size(), proxy.find('/')));
        const std::size_t colon = proxy.rfind(':');
        const std::string host = proxy.substr(0, colon);
        const std::string port =
            colon == std::string::npos ? "" : " port " + proxy.substr(colon + 1);
        if (!host.empty() && why.find(host + port) != std::string::npos)
            return "; that is the proxy of " + std::string(name) +
                   ", and no_proxy names hosts without one";
    }
    return {};
}

void set_identity(CURL* handle, const HttpIdentity& identity) {
    if (!identity.token.empty()) {
        curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, identity.token.c_str());
    } else if (!identity.user.empty()) {
        curl_easy_setopt(handle, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(handle, CURLOPT_USERNAME, identity.user.c_str());
        curl_easy_setopt(handle, CURLOPT_PASSWORD, identity.password.c_str());
    }
    if (identity.insecure_tls) {
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!identity.server_certificate.empty())
        curl_easy_setopt(handle, CURLOPT_CAINFO, identity.server_certificate.c_str());
    if (!identity.client_certificate.empty())
        curl_easy_setopt(handle, CURLOPT_SSLCERT, identity.client_certificate.c_str());
}

}  // namespace

HttpIdentity HttpIdentity::of_mlflow_environment() {
    HttpIdentity identity;
    identity.token = variable("MLFLOW_TRACKING_TOKEN");
    identity.user = variable("MLFLOW_TRACKING_USERNAME");
    identity.password = variable("MLFLOW_TRACKING_PASSWORD");
    const std::string insecure = variable("MLFLOW_TRACKING_INSECURE_TLS");
    identity.insecure_tls = insecure == "true" || insecure == "True" || insecure == "1";
    identity.server_certificate = variable("MLFLOW_TRACKING_SERVER_CERT_PATH");
    identity.client_certificate = variable("MLFLOW_TRACKING_CLIENT_CERT_PATH");
    return identity;
}

Result<HttpReply> send(const HttpRequest& request, const HttpIdentity& identity,
                       std::chrono::milliseconds patience, const std::atomic<bool>& cancelled) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    const std::unique_ptr<CURL, Closes> handle(curl_easy_init());
    if (handle == nullptr) return fail(Errc::internal, "libcurl has no handle to give");
    CURL* const curl = handle.get();
    HttpReply reply;
    char error[CURL_ERROR_SIZE] = "";
    const std::unique_ptr<curl_slist, Closes> headers(
        curl_slist_append(nullptr, ("Content-Type: " + request.type).c_str()));
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    if (!request.socket_file.empty()) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request.socket_file.c_str());
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect_patience_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(patience.count()));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "vflbus");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_cancelled);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &cancelled);
    if (request.method != "GET") {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         static_cast<curl_off_t>(request.body.size()));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.data());
    }
    set_identity(curl, identity);
    const CURLcode done = curl_easy_perform(curl);
    if (done == CURLE_ABORTED_BY_CALLBACK) return fail(Errc::cancelled, "given up");
    if (done == CURLE_OPERATION_TIMEDOUT) return fail(Errc::timed_out, "it does not answer");
    if (done != CURLE_OK) {
        const std::string why = error[0] != '\0' ? error : curl_easy_strerror(done);
        return fail(Errc::unreachable, why + proxy_hint(request.url, why));
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    return reply;
}

std::string url_escaped(std::string_view text) {
    static constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
    return out;
}

}  // namespace vflbus::observers
