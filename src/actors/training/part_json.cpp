#include "actors/training/part_json.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vflbus::actors {
namespace {

Json to_json(const data::PreparedColumn& column) {
    Json out;
    out["name"] = column.name;
    if (column.presence) {
        out["kind"] = "presence";
        return out;
    }
    if (column.kind == data::ColumnKind::numeric) {
        out["kind"] = "numeric";
        if (column.date != data::DateForm::none) out["date"] = data::name_of(column.date);
        if (!column.missing_words.empty()) out["missing_words"] = column.missing_words;
        if (column.decimal != '.') out["decimal"] = std::string(1, column.decimal);
        out["fill"] = column.fill;
        out["mean"] = column.mean;
        out["scale"] = column.scale;
        if (column.has_value) out["has_value"] = true;
        if (column.is_clipped()) {
            out["low"] = column.low;
            out["high"] = column.high;
        }
    } else {
        out["kind"] = "text";
        out["categories"] = column.categories;
        if (column.coding == data::TextCoding::one_hot) return out;
        out["coding"] = data::name_of(column.coding);
        if (column.coding == data::TextCoding::hashed) {
            out["buckets"] = column.buckets;
            return out;
        }
        out["codes"] = column.codes;
        out["mean"] = column.mean;
        out["scale"] = column.scale;
    }
    return out;
}

data::PreparedColumn column_of(const Json& in) {
    data::PreparedColumn column;
    column.name = in.at("name").get<std::string>();
    if (in.at("kind") == "presence") {
        column.presence = true;
        return column;
    }
    if (in.at("kind") == "numeric") {
        if (const Json* date = in.find("date"))
            column.date = data::parse_date_form(date->get<std::string>());
        if (const Json* words = in.find("missing_words"))
            column.missing_words = words->get<std::vector<std::string>>();
        if (const Json* decimal = in.find("decimal"))
            column.decimal = decimal->get<std::string>() == "," ? ',' : '.';
        column.fill = in.at("fill").get<double>();
        column.mean = in.at("mean").get<double>();
        column.scale = in.at("scale").get<double>();
        if (const Json* has_value = in.find("has_value")) column.has_value = has_value->get<bool>();
        if (const Json* low = in.find("low")) {
            column.low = low->get<double>();
            column.high = in.at("high").get<double>();
        }
    } else {
        column.kind = data::ColumnKind::text;
        column.categories = in.at("categories").get<std::vector<std::string>>();
        const Json* const coding = in.find("coding");
        if (coding == nullptr) return column;
        const auto known = data::text_coding_named(coding->get<std::string>());
        // an unknown coding gets no width, and so no weights fit it
        column.coding = known.value_or(data::TextCoding::hashed);
        if (column.coding == data::TextCoding::hashed) {
            if (known) column.buckets = in.at("buckets").get<std::uint32_t>();
            return column;
        }
        column.codes = in.at("codes").get<std::vector<double>>();
        column.codes.resize(column.categories.size());
        column.mean = in.at("mean").get<double>();
        column.scale = in.at("scale").get<double>();
    }
    return column;
}

}  // namespace

void put_columns(Json& out, const PartTable& table) {
    data::Preprocessor names;
    names.columns = table.columns;
    out["features"] = names.feature_names();
    Json columns = Json::array();
    for (const auto& column : table.columns) columns.push_back(to_json(column));
    out["columns"] = std::move(columns);
}

void read_columns(const Json& in, PartTable& table) {
    for (const Json& column : in.at("columns")) table.columns.push_back(column_of(column));
}

void put_report(Json& out, const PartTable& table) {
    Json left_out = Json::array();
    for (const auto& column : table.left_out)
        left_out.push_back({{"column", column.name}, {"reason", column.reason}});
    out["report"] = {{"train_rows", table.train_rows},
                     {"filled_cells", table.filled_cells},
                     {"left_out", std::move(left_out)}};
}

void read_report(const Json& in, PartTable& table) {
    const Json& report = in.at("report");
    table.train_rows = report.at("train_rows").get<std::uint64_t>();
    table.filled_cells = report.at("filled_cells").get<std::uint64_t>();
    for (const Json& column : report.at("left_out"))
        table.left_out.push_back(
            {column.at("column").get<std::string>(), column.at("reason").get<std::string>()});
}

Json to_json(const data::LabelCoding& coding) {
    Json out{{"columns", coding.columns}, {"classes", coding.classes}};
    if (!coding.exposure.empty()) out["exposure"] = coding.exposure;
    if (coding.task == vflbus::Task::tweedie) out["tweedie_power"] = coding.tweedie_power;
    return out;
}

data::LabelCoding coding_of(const Json& in, vflbus::Task task) {
    data::LabelCoding coding;
    coding.task = task;
    coding.columns = in.at("columns").get<std::vector<std::string>>();
    coding.classes = in.at("classes").get<std::vector<std::vector<std::string>>>();
    if (const Json* exposure = in.find("exposure")) coding.exposure = exposure->get<std::string>();
    if (const Json* power = in.find("tweedie_power")) coding.tweedie_power = power->get<double>();
    return coding;
}

}  // namespace vflbus::actors
