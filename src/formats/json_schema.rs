//! The JSON Schema of a native fixture, for editors: generated from the tables of the model.

use serde_json::{Map, Value as Json, json};

use crate::model::defaults::Given;
use crate::model::entities::{ENTITIES, Entity, MONITORS, SETTINGS};
use crate::model::fields::{Field, ValueShape};
use crate::model::kinds;
use crate::schema;

/// The schema of fixtures for the newest release and all older ones.
pub fn json_schema() -> Json {
    let mut properties = Map::new();
    properties
        .insert("version".into(), json!({"const": super::native::VERSION, "description": "version of the format"}));
    properties.insert("$schema".into(), json!({"type": "string"}));
    properties.insert(
        "defaults".into(),
        json!({
            "description": "default values of all monitors in this fixture that have the field",
            "type": "object",
            "additionalProperties": false,
            "properties": thing_properties(&MONITORS),
        }),
    );
    for entity in ENTITIES {
        let value = if entity.key == SETTINGS.key {
            json!({"type": "object", "description": "settings, by name"})
        } else {
            json!({"type": ["array", "null"], "items": thing(entity)})
        };
        properties.insert(entity.key.into(), value);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kumadb fixture",
        "description": "the desired configuration of an Uptime Kuma instance",
        "type": "object",
        "additionalProperties": false,
        "patternProperties": {"^x-": {}},
        "properties": properties,
    })
}

fn thing(entity: &'static Entity) -> Json {
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": thing_properties(entity),
    });
    if entity.key == MONITORS.key && entity.owner.is_empty() {
        schema["allOf"] = kinds(schema::newest()).map(of_kind).collect();
        schema["anyOf"] =
            json!([{"required": ["name"]}, {"required": ["path"]}, {"required": ["id"]}, {"required": ["type"]}]);
    }
    if entity.short { json!({"anyOf": [{"type": "string"}, schema]}) } else { schema }
}

/// The key with the user of an item.
const OWNER: &str = "owner";

/// Required and optional fields of monitors of one type.
fn of_kind(kind: &'static crate::model::MonitorType) -> Json {
    let allowed: Map<String, Json> = kind
        .fields(schema::newest())
        .into_iter()
        .flat_map(names)
        .chain(["type", "id", "was", OWNER, "path", "left_out", "tags", "notifications"].map(str::to_owned))
        .map(|name| (name, json!(true)))
        .collect();
    let required: Vec<&str> = kind
        .needs
        .iter()
        .copied()
        .filter(|column| crate::model::defaults::page_default(column, kind.name, schema::newest()).is_none())
        .collect();
    json!({
        "if": {"properties": {"type": {"const": kind.name}}, "required": ["type"]},
        "then": {"description": kind.title, "properties": allowed, "additionalProperties": false, "required": required},
    })
}

fn thing_properties(entity: &'static Entity) -> Map<String, Json> {
    let mut properties = Map::new();
    for field in entity.fields.iter().filter(|field| field.is_typed()) {
        for name in names(field) {
            properties.insert(name, value(entity, field));
        }
    }
    for part in entity.parts {
        let list = json!({"type": ["array", "null"], "items": thing(part)});
        let schema = if part.also.is_empty() {
            json!({"anyOf": [list, {"type": "string"}]})
        } else {
            json!({"anyOf": [
                {"type": "array", "items": {"anyOf": [{"type": "string"}, thing(part)]}},
                {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
                {"type": "null"},
            ]})
        };
        properties.insert(part.key.into(), schema);
    }
    if entity.owner.is_empty() {
        properties.insert("id".into(), json!({"type": "integer", "description": "its existing id"}));
        properties.insert("was".into(), json!({"type": "string", "description": "its former name"}));
        properties.insert("left_out".into(), json!({"type": "array", "items": {"type": "string"}, "description": "fields that are not changed, usually secrets that an export left out"}));
    }
    if entity.has_user() {
        properties.insert(OWNER.into(), json!({"type": "string", "description": "name of the user it belongs to"}));
    }
    if entity.key == MONITORS.key && entity.owner.is_empty() {
        let types: Vec<&str> = kinds(schema::newest()).map(|kind| kind.name).collect();
        properties.insert(
            "type".into(),
            json!({"enum": types, "description": "type of the monitor; without a type only the specified fields \
                                                  change"}),
        );
        properties.insert(
            "path".into(),
            json!({"type": "string", "description": "groups and name, instead of `parent` and `name`: Network/Router"}),
        );
    }
    properties
}

/// The spellings that editors suggest: the column, and a common shorter name.
fn names(field: &Field) -> Vec<String> {
    let short = field.option().replace('-', "_");
    let mut names = vec![field.column.to_owned()];
    if short != field.column {
        names.push(short);
    }
    if field.api != field.column && !names.iter().any(|name| name == field.api) {
        names.push(field.api.to_owned());
    }
    names
}

fn value(entity: &Entity, field: &Field) -> Json {
    let mut schema = match field.shape {
        ValueShape::Flag => json!({"type": ["boolean", "string"]}),
        ValueShape::Whole(least, most) => json!({"anyOf": [
            {"type": "integer", "minimum": least, "maximum": most}, {"type": "string", "pattern": "\\$\\{"}, {"type": "null"},
        ]}),
        ValueShape::Real => json!({"type": ["number", "string", "null"]}),
        ValueShape::Choice(picks) => {
            let mut picks: Vec<Json> = picks.iter().map(|pick| json!(pick.value)).collect();
            picks.push(Json::Null);
            json!({"anyOf": [{"enum": picks}, {"type": "string", "pattern": "\\$\\{"}]})
        }
        ValueShape::StatusCodes | ValueShape::Texts => {
            json!({"anyOf": [{"type": "array", "items": {"type": ["string", "integer"]}}, {"type": ["string", "integer"]}]})
        }
        ValueShape::Array => json!({"type": ["array", "string"]}),
        ValueShape::Object => json!({"type": ["object", "string"]}),
        ValueShape::Text(room) => json!({"type": ["string", "number", "boolean", "null"], "maxLength": room}),
        ValueShape::LongText => json!({"type": ["string", "number", "boolean", "object", "array", "null"]}),
        ValueShape::Reference(_) | ValueShape::Kind | ValueShape::Server => {
            json!({"type": ["string", "integer", "null"]})
        }
    };
    schema["description"] = field.help.into();
    if let Some(default) = default(entity, field.column) {
        schema["default"] = default;
    }
    schema
}

fn default(entity: &Entity, column: &str) -> Option<Json> {
    let given = entity.defaults.iter().find(|(name, _)| *name == column)?;
    Some(match given.1 {
        Given::Nothing => return None,
        Given::Int(n) => n.into(),
        Given::Real(x) => x.into(),
        Given::Text(text) => text.into(),
    })
}
