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
    if (column.kind == data::ColumnKind::numeric) {
        out["kind"] = "numeric";
        if (column.date != data::DateForm::none) out["date"] = data::name_of(column.date);
        out["fill"] = column.fill;
        out["mean"] = column.mean;
        out["scale"] = column.scale;
    } else {
        out["kind"] = "text";
        out["categories"] = column.categories;
    }
    return out;
}

data::PreparedColumn column_of(const Json& in) {
    data::PreparedColumn column;
    column.name = in.at("name").get<std::string>();
    if (in.at("kind") == "numeric") {
        if (const Json* date = in.find("date"))
            column.date = data::parse_date_form(date->get<std::string>());
        column.fill = in.at("fill").get<double>();
        column.mean = in.at("mean").get<double>();
        column.scale = in.at("scale").get<double>();
    } else {
        column.kind = data::ColumnKind::text;
        column.categories = in.at("categories").get<std::vector<std::string>>();
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
    return {{"columns", coding.columns}, {"classes", coding.classes}};
}

data::LabelCoding coding_of(const Json& in, vflbus::Task task) {
    data::LabelCoding coding;
    coding.task = task;
    coding.columns = in.at("columns").get<std::vector<std::string>>();
    coding.classes = in.at("classes").get<std::vector<std::vector<std::string>>>();
    return coding;
}

}  // namespace vflbus::actors
