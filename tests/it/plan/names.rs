//! What names, ids and defaults of documents mean, and what they are refused for.

use std::fs;

use crate::support::lab::Lab;

fn write(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.root.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Applies `text`, after which nothing is left to change.
#[track_caller]
fn apply(lab: &Lab, text: &str) {
    let file = write(lab, "a.yaml", text);
    lab.ok(&format!("apply {file} --yes"));
    let again = lab.run(&format!("plan {file} --detailed-exitcode"));
    assert_eq!(again.exit, 0, "{}: {text}\n{}{}", lab.engine(), again.out, again.err);
}

/// `text` is refused in these words, and nothing changes.
#[track_caller]
fn refuses(lab: &Lab, text: &str, words: &str) {
    let before = lab.rows();
    let file = write(lab, "wrong.yaml", text);
    let ran = lab.fails(2, &format!("apply {file} --yes"));
    assert!(ran.err.contains(words), "{text}\n{}", ran.err);
    assert_eq!(before, lab.rows(), "{text}");
}

fn paths(lab: &Lab) -> Vec<String> {
    let list = lab.json("monitor list");
    let paths = list["monitors"].as_array().unwrap().iter().map(|monitor| monitor["path"].as_str().unwrap().to_owned());
    let mut paths: Vec<String> = paths.collect();
    paths.sort();
    paths
}

const NESTED: &str = "
monitors:
- {name: Network, type: group}
- {name: Core, type: group, parent: Network}
- {name: Inner, type: group, parent: Core}
- {name: Router, type: ping, hostname: h, parent: Inner}
- {path: Core/Switch, type: ping, hostname: h}
";

#[test]
fn a_group_may_be_called_by_its_name_alone() {
    for lab in Lab::both("2.5.3") {
        apply(&lab, NESTED);
        let expected =
            ["Network", "Network/Core", "Network/Core/Inner", "Network/Core/Inner/Router", "Network/Core/Switch"];
        assert_eq!(paths(&lab), expected, "{}", lab.engine());
        // The groups may also be those that are there already.
        apply(&lab, "monitors: [{name: Router, type: ping, hostname: other, parent: Inner}]");
        assert_eq!(paths(&lab), expected, "{}", lab.engine());
        let file = write(&lab, "pruned.yaml", NESTED);
        let out = lab.ok(&format!("apply {file} --yes --prune"));
        assert!(out.starts_with("applied: 1 changed, 4 unchanged\n"), "{out}");
        assert_eq!(paths(&lab), expected, "{}", lab.engine());
    }
}

#[test]
fn a_name_that_several_groups_have_is_refused() {
    let lab = Lab::sqlite("2.5.3");
    let groups = "monitors: [{name: A, type: group}, {name: B, type: group}, {path: A/C, type: group}, \
                  {path: B/C, type: group}";
    refuses(&lab, &format!("{groups}, {{name: X, type: push, parent: C}}]"), "several monitors have the name `C`");
    apply(&lab, &format!("{groups}, {{name: X, type: ping, hostname: h, parent: B/C}}]"));
    refuses(&lab, "monitors: [{name: X, type: push, parent: C}]", "several monitors have the name `C`");
    refuses(
        &lab,
        "monitors: [{name: Core, type: group}, {path: Core/X, type: push}, {name: X, type: push, parent: Core}]",
        "is defined twice",
    );
}

#[test]
fn groups_form_no_cycle() {
    let lab = Lab::sqlite("2.5.3");
    let cycle = "the groups would form a cycle";
    refuses(&lab, "monitors: [{name: A, type: group, parent: A}]", cycle);
    refuses(&lab, "monitors: [{name: A, type: group, parent: B}, {name: B, type: group, parent: A}]", cycle);
    apply(&lab, NESTED);
    let id = lab.sql("SELECT id FROM monitor WHERE name = 'Network'");
    refuses(&lab, &format!("monitors: [{{id: {}, parent: Network/Core/Inner}}]", id.trim()), cycle);
}

#[test]
fn a_monitor_is_found_by_its_id_and_renamed() {
    for lab in Lab::both("2.5.3") {
        apply(&lab, NESTED);
        let id = lab.sql("SELECT id FROM monitor WHERE name = 'Router'").trim().to_owned();
        apply(&lab, &format!("monitors: [{{id: {id}, name: Gateway, hostname: gateway}}]"));
        assert_eq!(lab.sql(&format!("SELECT name, hostname FROM monitor WHERE id = {id}")).trim(), "Gateway\tgateway");
        assert!(paths(&lab).contains(&"Network/Core/Inner/Gateway".to_owned()));
        refuses(&lab, "monitors: [{id: 4711, name: X}]", "there is no monitor with the id 4711");
        refuses(&lab, "monitors: [{id: none, name: X}]", "must be a number, not text");
        refuses(&lab, "monitors: [{name: Nobody, hostname: x}]", "a new one requires a `type`");
        // A path is no name: it would be renamed.
        let words = "monitors[0].name: is the path of a monitor: use `path: Network/Core`";
        refuses(&lab, "monitors: [{name: Network/Core, interval: 30}]", words);
        refuses(&lab, "monitors: [{name: Network/Core, type: group}]", words);
        apply(&lab, "monitors: [{path: Network/Core, description: the core}, {name: Not/a path, type: group}]");
        apply(&lab, "monitors: [{name: Not/a path, description: a name}]");
    }
}

#[test]
fn an_item_with_an_id_and_no_name_is_found_by_the_name_of_its_row() {
    for lab in Lab::both("2.5.3") {
        apply(&lab, NESTED);
        let id = lab.sql("SELECT id FROM monitor WHERE name = 'Core'").trim().to_owned();
        apply(
            &lab,
            &format!(
                "monitors:
- {{id: {id}, description: the core}}
- {{name: New, type: ping, hostname: h, parent: Core}}
status_pages:
- {{slug: home, title: Home, groups: [{{name: All, monitors: [Core]}}]}}
"
            ),
        );
        assert!(paths(&lab).contains(&"Network/Core/New".to_owned()), "{:?}", paths(&lab));
        assert_eq!(lab.sql("SELECT monitor_id FROM monitor_group").trim(), id);
        assert_eq!(lab.sql(&format!("SELECT description FROM monitor WHERE id = {id}")).trim(), "the core");
        // One that gets another group, by its name and by the path that it had, which is not there afterwards.
        let id = lab.sql("SELECT id FROM monitor WHERE name = 'Inner'").trim().to_owned();
        let file = write(
            &lab,
            "moved.yaml",
            &format!(
                "monitors:
- {{id: {id}, parent: Network}}
- {{name: Short, type: ping, hostname: h, parent: Inner}}
status_pages:
- {{slug: home, title: Home, groups: [{{name: All, monitors: [Network/Core/Inner]}}]}}
"
            ),
        );
        lab.ok(&format!("apply {file} --yes"));
        assert!(paths(&lab).contains(&"Network/Inner/Short".to_owned()), "{:?}", paths(&lab));
        assert_eq!(lab.sql("SELECT monitor_id FROM monitor_group").trim(), id);
        // Everything else that has a name.
        apply(&lab, "tags: [{name: env, color: '#111111'}]");
        let id = lab.sql("SELECT id FROM tag WHERE name = 'env'").trim().to_owned();
        let tagged = "{name: Short, type: ping, hostname: h, parent: Network/Inner, tags: [env]}";
        apply(&lab, &format!("tags: [{{id: {id}, color: '#222222'}}]\nmonitors: [{tagged}]"));
        assert_eq!(lab.sql("SELECT tag_id FROM monitor_tag").trim(), id);
        assert_eq!(lab.sql("SELECT color FROM tag WHERE name = 'env'").trim(), "#222222");
        // What is required is not emptied because it is not in the fixture.
        apply(&lab, "proxies: [{protocol: http, host: out, port: 3128}]");
        let id = lab.sql("SELECT id FROM proxy").trim().to_owned();
        refuses(&lab, &format!("proxies: [{{id: {id}, port: 3129}}]"), "proxies[0].protocol: is required");
        apply(&lab, &format!("proxies: [{{id: {id}, protocol: http, port: 3129}}]"));
        assert_eq!(lab.sql("SELECT host, port FROM proxy").trim(), "out\t3129");
    }
}

/// 2.1 replaced the column for Google Analytics by three for any service.
#[test]
fn analytics_of_a_status_page_are_those_of_the_release() {
    let page = |more: &str| format!("status_pages: [{{slug: home, title: Home, {more}}}]");
    for lab in Lab::both("2.0.2") {
        apply(&lab, &page("analytics_id: G-1, analytics_type: google"));
        assert_eq!(lab.sql("SELECT google_analytics_tag_id FROM status_page").trim(), "G-1");
        apply(&lab, &page("google_analytics_tag_id: G-2"));
        assert_eq!(lab.sql("SELECT google_analytics_tag_id FROM status_page").trim(), "G-2");
        refuses(&lab, &page("analytics_id: '3', analytics_type: umami"), "`analytics_type`");
    }
    for lab in Lab::both("2.5.3") {
        apply(&lab, &page("google_analytics_tag_id: G-1"));
        assert_eq!(lab.sql("SELECT analytics_id, analytics_type FROM status_page").trim(), "G-1\tgoogle");
        apply(&lab, &page("analytics_id: '3', analytics_type: umami"));
        assert_eq!(lab.sql("SELECT analytics_id, analytics_type FROM status_page").trim(), "3\tumami");
    }
}

#[test]
fn names_may_begin_and_end_with_blanks() {
    for lab in Lab::both("2.5.3") {
        apply(
            &lab,
            "tags: [{name: \" env \"}, {name: \"$${x}\"}]\nnotifications: [{name: \"ops \", type: ntfy}]\nmonitors:\n\
             - {name: \"Net \", type: group, notifications: [\"ops \"], tags: [{name: \" env \", value: v}]}\n\
             - {name: Router, type: ping, hostname: h, parent: \"Net \", tags: {\"${x}\": v, \" env \": null}}\n",
        );
        let file = lab.root.path().join("out.yaml").display().to_string();
        lab.ok(&format!("export --secrets -o {file}"));
        lab.ok(&format!("plan {file} --detailed-exitcode"));
        // Where nothing else is called so, a blank too many does no harm.
        apply(&lab, "monitors: [{name: A, type: group, notifications: []}, {name: B, type: push, parent: \" A \"}]");
        assert!(paths(&lab).contains(&"A/B".to_owned()), "{:?}", paths(&lab));
    }
}

#[test]
fn things_that_are_not_there_are_named_with_the_nearest_one() {
    let lab = Lab::sqlite("2.5.3");
    apply(
        &lab,
        "tags: [{name: env}]\nnotifications: [{name: ops, type: ntfy}]\ndocker_hosts: [{name: local}]\n\
         remote_browsers: [{name: chrome, url: \"ws://c:3000\"}]\nproxies: [{protocol: http, host: proxy.lan, port: 3128}]\n\
         monitors: [{name: Network, type: group}]\n",
    );
    for (given, words) in [
        ("notifications: [opss]", "no notification `opss` (did you mean `ops`?)"),
        ("parent: Netwrok", "no monitor `Netwrok` (did you mean `Network`?)"),
        (
            "proxy: \"http://proxy.lan:3129\"",
            "no proxy `http://proxy.lan:3129` (did you mean `http://proxy.lan:3128`?)",
        ),
    ] {
        refuses(&lab, &format!("monitors: [{{name: X, type: http, url: \"https://x\", {given}}}]"), words);
    }
    refuses(
        &lab,
        "monitors: [{name: X, type: docker, docker_container: x, docker_host: lokal}]",
        "no docker host `lokal` (did you mean `local`?)",
    );
    // It is not also reported as missing.
    let file = lab.root.path().join("once.yaml");
    fs::write(&file, "monitors: [{name: X, type: docker, docker_container: x, docker_host: lokal}]").unwrap();
    let ran = lab.fails(2, &format!("plan {}", file.display()));
    assert!(!ran.err.contains("is required"), "{}", ran.err);
    refuses(
        &lab,
        "monitors: [{name: X, type: real-browser, url: \"https://x\", remote_browser: chrom}]",
        "no remote browser `chrom` (did you mean `chrome`?)",
    );
    refuses(
        &lab,
        "status_pages: [{slug: a, title: A, groups: [{name: G, monitors: [Netwrok]}]}]",
        "no monitor `Netwrok` (did you mean `Network`?)",
    );
    // The host of a proxy is enough where only one is on it.
    apply(&lab, "monitors: [{name: X, type: http, url: \"https://x\", proxy: proxy.lan}]");
}

#[test]
fn defaults_are_for_monitors_that_have_such_a_field() {
    for lab in Lab::both("2.5.3") {
        let text = "defaults: {interval: 120, maxretries: 4, tags: {env: prod}, notifications: [ops]}\n\
                    tags: [{name: env}]\nnotifications: [{name: ops, type: ntfy}]\nmonitors:\n\
                    - {name: A, type: http, url: \"https://x\"}\n- {name: G, type: group, tags: []}\n\
                    - {name: B, type: ping, hostname: h, interval: 30, notifications: []}\n";
        apply(&lab, text);
        let rows = lab.sql("SELECT name, `interval`, maxretries FROM monitor WHERE type <> 'group' ORDER BY name");
        assert_eq!(rows.trim(), "A\t120\t4\nB\t30\t4");
        let tagged = "SELECT name FROM monitor_tag JOIN monitor ON monitor.id = monitor_id ORDER BY name";
        assert_eq!(lab.sql(tagged).trim(), "A\nB");
        let reported = "SELECT name FROM monitor_notification JOIN monitor ON monitor.id = monitor_id ORDER BY name";
        assert_eq!(lab.sql(reported).trim(), "A\nG");
        // They are those of their own file only, and change nothing of an entry without a type.
        let (one, two) = (write(&lab, "1.yaml", "defaults: {interval: 45}\nmonitors: [{name: A, maxretries: 1}]\n"), {
            write(&lab, "2.yaml", "monitors: [{name: C, type: ping, hostname: h}]\n")
        });
        lab.ok(&format!("apply {one} {two} --yes"));
        let rows = lab.sql("SELECT name, `interval`, maxretries FROM monitor WHERE name IN ('A', 'C') ORDER BY name");
        assert_eq!(rows.trim(), "A\t120\t1\nC\t60\t0");
    }
}

#[test]
fn files_may_refer_to_each_other_and_not_say_the_same() {
    let lab = Lab::sqlite("2.5.3");
    let monitors = write(&lab, "1.yaml", "monitors: [{name: X, type: ping, hostname: h, parent: G, tags: [env]}]\n");
    let rest = write(&lab, "2.yaml", "tags: [{name: env}]\nmonitors: [{name: G, type: group}]\n");
    lab.fails(2, &format!("plan {monitors}"));
    lab.ok(&format!("apply {monitors} {rest} --yes"));
    assert_eq!(paths(&lab), ["G", "G/X"]);
    let ran = lab.fails(2, &format!("plan {monitors} {monitors}"));
    assert!(ran.err.contains("`G/X` is defined twice, first at"), "{}", ran.err);
    let ran = lab.fails(1, &format!("plan {}", lab.root.path().join("nowhere.yaml").display()));
    assert!(ran.err.contains("nowhere.yaml"), "{}", ran.err);
}

#[test]
fn masked_secrets_are_refused_wherever_they_stand() {
    let lab = Lab::sqlite("2.5.3");
    for text in [
        "monitors: [{name: X, type: http, url: \"https://x\", basic_auth_pass: \"******\"}]",
        "notifications: [{name: X, type: telegram, config: {telegramBotToken: \"********\"}}]",
        "proxies: [{protocol: http, host: h, port: 1, auth: true, username: u, password: \"****\"}]",
        "users: [{username: x, password: \"**********\"}]",
        "settings: {steamAPIKey: \"********\"}",
    ] {
        refuses(&lab, text, "is a masked secret");
    }
}

#[test]
fn a_table_of_monitors_can_be_applied_again() {
    for lab in Lab::both("2.5.3") {
        apply(
            &lab,
            "tags: [{name: env}, {name: team}]\nnotifications: [{name: ops, type: ntfy}]\nmonitors:\n\
             - {name: Net, type: group}\n- {path: Net/A, type: ping, hostname: h, tags: {env: prod, team: null}}\n\
             - {name: B, type: http, url: \"https://x\", interval: 30, accepted_statuscodes: [\"200-299\", \"401\"],\
             \x20notifications: [ops], basic_auth_pass: p, auth_method: basic, basic_auth_user: u}\n\
             - {name: C, type: port, hostname: h, port: 22, active: false}\n",
        );
        let file = lab.root.path().join("out.csv").display().to_string();
        lab.ok(&format!("export --monitors --secrets -o {file}"));
        let ran = lab.run(&format!("plan {file} --detailed-exitcode"));
        assert_eq!(ran.exit, 0, "{}{}{}", fs::read_to_string(&file).unwrap(), ran.out, ran.err);
    }
}

#[test]
fn a_tag_like_an_existing_one_is_created_and_shown_or_refused() {
    let lab = Lab::sqlite("2.5.3");
    apply(&lab, "tags: [{name: env}]\n");
    let file = write(&lab, "tag.yaml", "monitors: [{name: X, type: http, url: \"https://x\", tags: {evn: x}}]\n");
    let refused = lab.fails(2, &format!("apply {file} --yes --no-create-tags"));
    assert!(refused.err.contains("no tag `evn` (did you mean `env`?)"), "{}", refused.err);
    let ran = lab.run(&format!("apply {file} --yes"));
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(ran.err.contains("+ tag `evn`"), "{}", ran.err);
    assert_eq!(lab.sql("SELECT count(*) FROM tag").trim(), "2");
}

#[test]
fn what_a_remaining_monitor_uses_is_not_deleted() {
    let lab = Lab::sqlite("2.5.3");
    let write = |name: &str, text: &str| std::fs::write(lab.root.path().join(name), text).unwrap();
    write(
        "all.yaml",
        "docker_hosts: [{name: dh}]
proxies: [{protocol: http, host: p, port: 1}]
notifications: [{name: ops, type: ntfy, config: {ntfytopic: t, ntfyserverurl: 'https://ntfy.sh'}}]
monitors:
  - {name: D, type: docker, docker_host: dh, docker_container: x, notifications: [ops]}
  - {name: P, type: http, url: 'https://x', proxy: 'http://p:1', notifications: [ops]}
",
    );
    lab.ok("apply all.yaml --yes");
    for (kind, named) in [
        ("docker_hosts", "docker host `dh`: cannot be deleted: it is used by monitor `D`"),
        ("proxies", "cannot be deleted: it is used by monitor `P`"),
        ("notifications", "notification `ops`: cannot be deleted: it is used by monitor `D` and 1 other"),
    ] {
        write("none.yaml", &format!("{kind}: []"));
        let refused = lab.fails(2, "apply none.yaml --prune --yes");
        assert!(refused.err.contains(named), "{kind}: {}", refused.err);
        // Monitors that use it no longer, and those that are deleted too, do not prevent it.
        write(
            "some.yaml",
            &format!("{kind}: []\nmonitors: [{{name: P, type: http, url: 'https://x', notifications: []}}]"),
        );
        lab.ok("plan some.yaml --prune");
    }
}
