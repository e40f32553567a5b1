#include "actors/training/part_json.hpp"

#include <string>
#include <utility>
#include <vector>

namespace vflbus::actors {

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
