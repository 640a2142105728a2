//! Exports for other tools: our readers read them again as the same configuration, but for what the report names.

use std::collections::BTreeMap;
use std::path::Path;

use hcl::eval::{Context, Evaluate as _, FuncArgs, FuncDef, ParamType};
use hcl::{Body, Value, expr};
use kumadb::formats::export::tool::{Tool, ToolFiles, export_to};
use kumadb::formats::export::{ExportChoice, Secrets};
use kumadb::formats::foreign::ForeignFormat;
use kumadb::formats::import::{Import, ImportOptions, InputFormat, import};
use kumadb::formats::text::{Syntax, no_files, read};
use kumadb::formats::{At, NoSources, Node};
use kumadb::model::state::ConfigRows;
use kumadb::plan::Change;
use kumadb::plan::fixture::{ApplyOptions, plan_fixture};
use kumadb::value::Row;
use serde_json::{Value as Json, json};

use super::round_trip::{Counted, Made, ODD};

fn encode(args: FuncArgs) -> Result<Value, String> {
    serde_json::to_string(&args[0]).map(Value::from).map_err(|error| error.to_string())
}

fn decode(args: FuncArgs) -> Result<Value, String> {
    serde_json::from_str(args[0].as_str().unwrap_or_default()).map_err(|error| error.to_string())
}

/// What `terraform show -json` prints after the import of `text`, read by another implementation of HCL.
fn state(text: &str, variables: &[(String, String)], config: &ConfigRows) -> String {
    let body: Body = hcl::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let blocks = |name: &'static str| body.blocks().filter(move |block| block.identifier() == name);
    let mut context = Context::new();
    context.declare_func("jsonencode", FuncDef::builder().param(ParamType::Any).build(encode));
    context.declare_func("jsondecode", FuncDef::builder().param(ParamType::Any).build(decode));
    let known: hcl::Map<String, Value> = blocks("variable")
        .map(|block| {
            let name = block.labels()[0].as_str().to_owned();
            let key = format!("TF_VAR_{name}");
            let value = variables.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone());
            (name, Value::from(value.unwrap_or_else(|| panic!("{key}"))))
        })
        .collect();
    context.declare_var("var", known);
    // The ids that the blocks import.
    let mut ids: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for block in blocks("import") {
        let value = |key: &str| block.body().attributes().find(|one| one.key() == key).unwrap().expr().clone();
        let to = value("to").to_string();
        let (kind, name) = to.split_once('.').unwrap();
        let id: i64 = value("id").to_string().trim_matches('"').parse().unwrap();
        assert!(ids.entry(kind.to_owned()).or_default().insert(name.to_owned(), id).is_none(), "{to} twice");
    }
    for (kind, ids) in &ids {
        let ids = ids.iter().map(|(name, id)| (name.clone(), json!({"id": id})));
        context.declare_var(kind.as_str(), hcl::to_value(serde_json::Map::from_iter(ids)).unwrap());
    }
    let mut resources = Vec::new();
    let mut data = serde_json::Map::new();
    for block in blocks("data") {
        let (kind, name) = (block.labels()[0].as_str(), block.labels()[1].as_str());
        let found = existing(kind, block.body(), config);
        resources.push(json!({"mode": "data", "type": kind, "name": name, "values": found}));
        data.entry(kind).or_insert_with(|| json!({}))[name] = found;
    }
    context.declare_var("data", hcl::to_value(data).unwrap());
    for block in blocks("resource") {
        let (kind, name) = (block.labels()[0].as_str(), block.labels()[1].as_str());
        let mut values = serde_json::Map::from_iter([("id".to_owned(), json!(ids[kind][name]))]);
        for one in block.body().attributes() {
            let value = one.expr().evaluate(&context).unwrap_or_else(|error| panic!("{}: {error}", one.key()));
            assert!(values.insert(one.key().to_owned(), json!(value)).is_none(), "{} of {name} twice", one.key());
        }
        resources.push(json!({"mode": "managed", "type": kind, "name": name, "values": values}));
    }
    json!({"format_version": "1.0", "terraform_version": "1.12.0", "values": {"root_module": {"resources": resources}}})
        .to_string()
}

/// What the provider reads of an existing item.
fn existing(kind: &str, body: &Body, config: &ConfigRows) -> Json {
    let attribute = body.attributes().next().unwrap();
    let desired = match attribute.expr() {
        expr::Expression::String(text) => text.clone(),
        other => other.to_string(),
    };
    let table = kind.trim_start_matches("uptimekuma_");
    let row = config.rows(table).iter().find(|row| row.cell(attribute.key()).to_string() == desired).unwrap();
    let columns: &[&str] = if table == "proxy" { &["id", "protocol", "host", "port"] } else { &["id", "name"] };
    columns
        .iter()
        .map(|column| ((*column).to_owned(), row.cell(column).json()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn exported(tool: Tool, config: &ConfigRows, secrets: Secrets) -> ToolFiles {
    export_to(tool, config, &ExportChoice { secrets, ..ExportChoice::default() })
}

/// The files, read again.
fn read_again(tool: Tool, files: &ToolFiles, config: &ConfigRows) -> Import {
    let (format, texts) = match tool {
        Tool::Terraform => {
            let state = state(&files.files[0].1, &files.variables, config);
            (ForeignFormat::TerraformState, vec![("state.json".to_owned(), state)])
        }
        Tool::Autokuma => {
            let texts = files.files.iter().map(|(name, text)| (format!("out/{name}"), text.clone()));
            (ForeignFormat::Autokuma, texts.collect())
        }
    };
    let read =
        import(texts, &ImportOptions { from: InputFormat::Foreign(format), ..ImportOptions::default() }, &NoSources);
    assert!(read.problems.is_empty(), "{:#?}", read.problems);
    read
}

/// The changes that the files, read again, would make to the instance that they come from.
fn changes(tool: Tool, secrets: Secrets, config: &ConfigRows) -> (ToolFiles, Vec<String>) {
    let files = exported(tool, config, secrets);
    let read = read_again(tool, &files, config);
    let report = plan_fixture(config, &read.fixture, &ApplyOptions::default(), &mut Counted(0)).unwrap();
    let report = report.unwrap_or_else(|problems| panic!("{problems:#?}\n{:#?}", files.files));
    let mut lines = Vec::new();
    for step in &report.plan.steps {
        match &step.change {
            Change::Update { set, .. } => {
                lines.extend(set.iter().map(|cell| format!("{}: {}", step.subject, cell.column)));
            }
            other => lines.push(format!("{}: {other:?}", step.subject)),
        }
    }
    (files, lines)
}

#[test]
fn everything_that_a_tool_holds_is_read_again_as_it_was() {
    let made = everything();
    let config = made.config();
    let browser = "monitor `Web/Login`: remote_browser";
    for (tool, secrets, expected) in [
        // It is a number there, which is not in the state.
        (Tool::Terraform, Secrets::Include, [browser, "monitor `Web/Mail`: smtp_security"]),
        (Tool::Terraform, Secrets::Variables, [browser, "monitor `Web/Mail`: smtp_security"]),
        (Tool::Autokuma, Secrets::Include, [browser, "monitor `Web/Shop`: proxy_id"]),
    ] {
        let (files, changes) = changes(tool, secrets, &config);
        assert_eq!(changes, expected, "{tool:?}");
        let reported = [files.warnings.clone(), files.notes.clone()].concat().join("\n");
        for words in ["`Lift`: ", "2 status pages: not exported to ", "6 maintenances: ", "11 settings: "] {
            assert!(reported.contains(words), "{words}: {reported}");
        }
    }
}

#[test]
fn secrets_are_not_in_the_files_unless_they_are_requested() {
    let mut config = everything().config();
    set(&mut config, "docker_host", "docker_daemon", "tcp://kuma:host-secret-word@10.0.0.5:2375");
    let shop = config.rows("monitor").iter().position(|row| row.text("name") == Some("Shop")).unwrap();
    set_at(&mut config, ("monitor", shop), "url", "https://kuma:url-secret-word@shop.example.com");
    for tool in [Tool::Terraform, Tool::Autokuma] {
        let text = |files: &ToolFiles| files.files.iter().map(|(_, text)| text.as_str()).collect::<String>();
        let files = exported(tool, &config, Secrets::LeaveOut);
        assert!(!text(&files).contains("secret-word"), "{}", text(&files));
        assert!(
            files.left_out.iter().any(|name| name == "monitor `Web/Shop`: basic_auth_pass"),
            "{:?}",
            files.left_out
        );
        assert!(text(&exported(tool, &config, Secrets::Include)).contains("basic-secret-word"));
    }
    let files = exported(Tool::Terraform, &config, Secrets::LeaveOut);
    let line = "basic_auth_pass            = var.web_shop_basic_auth_pass\n";
    assert!(files.files[0].1.contains(line), "{}", files.files[0].1);
    assert!(files.variables.contains(&("TF_VAR_web_shop_basic_auth_pass".into(), "basic-secret-word".into())));
}

#[test]
fn odd_texts_are_read_again_as_they_were() {
    let made = Made::sqlite("2.5.3".parse().unwrap());
    let own = ["{{ msg }}", "{% if x %}", "{# x #}", "%{ if x }", "\"all of it\"", "\\\\server\\${x}", "€ 🙂"];
    let escaped = |text: &str| text.replace("${", "$${");
    let monitors: Vec<Json> = ODD
        .iter()
        .chain(&own)
        .enumerate()
        .map(|(at, odd)| {
            let name = format!("m{at} {}x", escaped(odd).replace('/', "|"));
            json!({"name": name, "type": "http", "url": "https://a.example", "method": "POST", "body": escaped(&json!({"t": odd}).to_string()),
            "tags": [{"name": format!("t{at} {}x", escaped(odd)), "value": format!("v{}", escaped(odd))}]})
        })
        .collect();
    let config =
        json!({"webhookURL": "https://a.example", "webhookCustomBody": "{{ msg }} $${x} %{y}", "n": {"b": [1, 2.5]}});
    let notification = json!({"name": "{{ n }}", "type": "webhook", "config": config});
    let document = json!({"notifications": [notification], "monitors": monitors});
    made.apply(&Node::from_json(&At::nowhere("test"), &document), &ApplyOptions::default());
    for (tool, secrets) in
        [(Tool::Terraform, Secrets::Include), (Tool::Terraform, Secrets::Variables), (Tool::Autokuma, Secrets::Include)]
    {
        assert_eq!(changes(tool, secrets, &made.config()).1, [""; 0], "{tool:?}");
    }
}

#[test]
fn some_monitors_have_what_they_refer_to() {
    let config = everything().config();
    let kinds = ["monitors".to_owned()].into();
    let shop = config.rows("monitor").iter().find(|row| row.text("name") == Some("Shop")).and_then(|row| row.int("id"));
    let choice = ExportChoice { kinds, monitors: Some(shop.into_iter().collect()), ..ExportChoice::default() };
    let names = |files: &ToolFiles| files.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let files = export_to(Tool::Autokuma, &config, &choice);
    let expected = ["tags/env", "tags/team", "notifications/night-shift", "notifications/ops", "monitors/web/shop"];
    let mut found = names(&files);
    found.sort();
    let mut expected = expected.map(|name| format!("{name}.json"));
    expected.sort();
    assert_eq!(found, expected);
    let text = export_to(Tool::Terraform, &config, &choice).files.remove(0).1;
    assert!(text.contains("parent") && !text.contains("uptimekuma_monitor_group"), "{text}");
}

/// An instance with everything in fixtures/everything.yaml.
fn everything() -> Made {
    let made = Made::sqlite("2.5.3".parse().unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/everything.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let documents = read("everything.yaml", &text, Syntax::Yaml, &no_files).unwrap();
    made.apply(&documents[0], &ApplyOptions::default());
    made
}

/// Changes a cell of the first row.
fn set(config: &mut ConfigRows, table: &str, column: &str, value: &str) {
    set_at(config, (table, 0), column, value);
}

fn set_at(config: &mut ConfigRows, (table, at): (&str, usize), column: &str, value: &str) {
    let row = &mut config.tables.get_mut(table).unwrap()[at];
    let cells = row.iter().map(|(name, cell)| if name == column { value.into() } else { cell.clone() }).collect();
    *row = Row::new(row.columns().into(), cells);
}

#[test]
fn autokuma_expands_nothing_in_any_value() {
    let mut config = everything().config();
    let template = "{{ get_env(name='HOME') }}";
    set(&mut config, "tag", "color", template);
    set(&mut config, "docker_host", "docker_daemon", template);
    set(&mut config, "docker_host", "docker_type", template);
    let odd = json!({"type": template, "name": "n", template: 1, "headers": {template: template, "a": template}});
    set(&mut config, "notification", "config", &odd.to_string());
    let files = exported(Tool::Autokuma, &config, Secrets::Include);
    let text: String = files.files.iter().map(|(_, text)| text.as_str()).collect();
    let raw = format!("{{% raw %}}{template}{{% endraw %}}");
    assert_eq!((text.matches(template).count(), text.matches(&raw).count()), (5, 5), "{text}");
    let left_out: Vec<&String> = files.warnings.iter().filter(|line| line.contains("the key `{{")).collect();
    assert_eq!(left_out.len(), 2, "{:?}", files.warnings);
}
