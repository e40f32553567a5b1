#include "actors/evaluation.hpp"

#include <bit>
#include <charconv>
#include <cstring>

namespace vflbus::actors {
namespace {

static_assert(std::endian::native == std::endian::little, "files are written as they lie here");

// magic, version 1.0, then the length of the header in two bytes
constexpr std::string_view npy_magic("\x93NUMPY\x01\x00", 8);
constexpr std::string_view header_begin = "{'descr': '<f8', 'fortran_order': True, 'shape': (";
constexpr std::size_t npy_align = 64;

void append_matrix(const models::Matrix& matrix, std::string& out) {
    if (matrix.empty()) return;
    const std::size_t at = out.size();
    out.resize(at + matrix.size() * sizeof(double));
    std::memcpy(out.data() + at, matrix.data(), matrix.size() * sizeof(double));
}

/// A number at the beginning of `text`, which is moved behind it and `separator`.
bool take_number(std::string_view& text, std::string_view separator, std::size_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc{}) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.starts_with(separator)) return false;
    text.remove_prefix(separator.size());
    return true;
}

}  // namespace

std::string evaluation_npy(const models::Labels& labels, const models::Matrix& predictions) {
    std::string header = std::string(header_begin) + std::to_string(predictions.rows()) + ", " +
                         std::to_string(labels.values.cols() + predictions.cols()) + "), }";
    const std::size_t used = npy_magic.size() + 2 + header.size() + 1;
    header.append((npy_align - used % npy_align) % npy_align, ' ');
    header += '\n';
    std::string out(npy_magic);
    out += static_cast<char>(header.size() & 0xFFU);
    out += static_cast<char>(header.size() >> 8U);
    out += header;
    append_matrix(models::in_label_units(labels.exposure, labels.values), out);
    append_matrix(models::in_label_units(labels.exposure, predictions), out);
    return out;
}

Result<models::Matrix> parse_evaluation(std::string_view file, std::size_t columns) {
    const auto refuse = [](const std::string& why) {
        return fail(Errc::bad_data, "the file of evaluated rows " + why);
    };
    const std::size_t fixed = npy_magic.size() + 2;
    if (file.size() < fixed || !file.starts_with(npy_magic)) return refuse("is none of ours");
    const std::size_t header_bytes = static_cast<unsigned char>(file[npy_magic.size()]) +
                                     256U * static_cast<unsigned char>(file[npy_magic.size() + 1]);
    if (file.size() - fixed < header_bytes) return refuse("is cut off");
    std::string_view header = file.substr(fixed, header_bytes);
    std::size_t rows = 0, found = 0;
    if (!header.starts_with(header_begin)) return refuse("is none of ours");
    header.remove_prefix(header_begin.size());
    if (!take_number(header, ", ", rows) || !take_number(header, ")", found))
        return refuse("is none of ours");
    if (found != columns)
        return refuse("has " + std::to_string(found) + " columns where the model has " +
                      std::to_string(columns));
    const std::string_view body = file.substr(fixed + header_bytes);
    if (body.size() % sizeof(double) != 0 || columns == 0 ||
        body.size() / sizeof(double) / columns != rows ||
        body.size() != rows * columns * sizeof(double))
        return refuse("is cut off");
    models::Matrix out;
    out.resize_uninitialized(rows, columns);
    if (!body.empty()) std::memcpy(out.data(), body.data(), body.size());
    return out;
}

}  // namespace vflbus::actors
