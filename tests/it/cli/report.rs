//! The report: one file that needs nothing else, the numbers of the database, nothing private on a public page.

use std::fs;
use std::process::Stdio;

use crate::cli::observe::add_beats;
use crate::support::lab::Lab;
use crate::support::wait::wait_until;

const SCRIPT: &str = "<script>alert(1)</script>";

/// A shop that is down, in a group, with everything that a page could give away or be broken by.
fn furnish(lab: &Lab) {
    lab.ok(&format!("monitor add group --name 'Web {SCRIPT}'"));
    lab.ok(
        "monitor add http --name 'Shop & \"Co\"' --url https://ann:url-secret@intern.example.com/x --basic-auth-user u \
         --basic-auth-pass pass-secret --auth-method basic --tag env=prod",
    );
    lab.ok("monitor add http --name Blog --url https://blog.example.com");
    lab.ok("monitor add push --name Hidden");
    lab.sql("UPDATE monitor SET parent = 1 WHERE id = 2");
    add_beats(lab, 1, &[(60, 1, true), (1, 0, true)]);
    add_beats(lab, 2, &[(60, 1, true), (20, 0, true), (1, 0, false)]);
    add_beats(lab, 3, &[(60, 1, true), (1, 1, false)]);
    lab.sql("UPDATE heartbeat SET msg = 'cannot reach https://ann:url-secret@intern.example.com <b>' WHERE status = 0");
    let page = "INSERT INTO status_page (slug, title, description, icon, theme, published, show_tags) VALUES";
    lab.sql(&format!("{page} ('all', 'Our {SCRIPT} services', 'Hello', '/icon.svg', 'auto', 1, 1)"));
    lab.sql(&format!("{page} ('draft', 'Draft', '', '/icon.svg', 'auto', 0, 0)"));
    lab.sql(
        "INSERT INTO `group` (name, public, active, weight, status_page_id) VALUES ('Public', 1, 1, 1, 1), \
         ('Internal', 0, 1, 2, 1)",
    );
    lab.sql("INSERT INTO monitor_group (monitor_id, group_id, weight) VALUES (2, 1, 1), (4, 2, 1)");
    lab.sql(
        "INSERT INTO maintenance (title, description, user_id, active, strategy) VALUES \
         ('Deploy <i>', 'of everything', 1, 1, 'manual')",
    );
    lab.sql("INSERT INTO monitor_maintenance (monitor_id, maintenance_id) VALUES (3, 1)");
}

fn page(lab: &Lab, options: &str) -> String {
    let file = lab.root.path().join("page.html");
    let written = lab.json(&format!("report {} {options}", file.display()));
    let html = fs::read_to_string(&file).unwrap();
    assert_eq!(written["size_bytes"], html.len());
    html
}

/// Whether it could load something or run something.
fn is_self_contained(html: &str) -> bool {
    let loads =
        [" src=", "<script", "<iframe", "@import", "url(", "<link rel=stylesheet", " onload", "http://", "https://"];
    let found: Vec<&str> = loads.into_iter().filter(|word| html.contains(word)).collect();
    // Messages are text.
    found.iter().all(|word| *word == "https://")
        && html.matches("https://").count() == html.matches("https://***@").count()
}

#[test]
fn a_report_shows_everything_but_secrets() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let html = page(&lab, "");
        for part in [
            "<li class=d><b>2</b>down</li>",
            "<h2>Web &lt;script&gt;alert(1)&lt;/script&gt; <span class=\"s d\">down</span></h2>",
            "<th scope=row>Shop &amp; &quot;Co&quot;<td><span class=\"s d\">down</span><small>for 20 min: cannot reach",
            "aria-label=\"last 3 heartbeats, 1 up, 2 down\"",
            "<td class=n>-",
            "Outages in the last 30 days",
            "<b>Deploy &lt;i&gt;</b> <span class=soft>in progress</span><p>of everything</p>",
            "Database health",
            "prefers-color-scheme:dark",
            "name=viewport",
        ] {
            assert!(html.contains(part), "{}: {part}\n{html}", lab.engine());
        }
        for private in ["url-secret", "pass-secret", "blog.example.com", SCRIPT] {
            assert!(!html.contains(private), "{private}");
        }
        assert!(is_self_contained(&html), "{html}");
        assert!(!page(&lab, "--no-doctor").contains("Database health"));
    }
}

#[test]
fn a_public_page_shows_what_its_visitors_see() {
    for lab in Lab::both("2.5.3") {
        furnish(&lab);
        let html = page(&lab, "--status-page ALL");
        for part in
            ["<h1>Our &lt;script&gt;", "<p>Hello</p>", "Degraded Service", "<h2>Public</h2>", "Shop &amp;", "env: prod"]
        {
            assert!(html.contains(part), "{}: {part}\n{html}", lab.engine());
        }
        for private in
            ["Hidden", "Internal", "Blog", "cannot reach", "example.com", "Deploy", "Outages", "Database", "Web "]
        {
            assert!(!html.contains(private), "{}: {private}\n{html}", lab.engine());
        }
        assert!(is_self_contained(&html), "{html}");
        lab.sql("INSERT INTO maintenance_status_page (status_page_id, maintenance_id) VALUES (1, 1)");
        assert!(page(&lab, "--status-page all").contains("<b>Deploy &lt;i&gt;</b>"));
        let unknown = lab.fails(2, "report x.html --status-page al");
        assert!(unknown.err.contains("unknown status page `al`"), "{}", unknown.err);
        let draft = lab.fails(2, "report x.html --status-page draft");
        assert!(draft.err.contains("`draft` is not published"), "{}", draft.err);
        assert!(!lab.root.path().join("x.html").exists());
    }
}

#[test]
fn a_report_is_written_from_a_snapshot_and_of_1_23() {
    let lab = Lab::sqlite("1.23.17");
    lab.ok("monitor add http --name Shop --url https://shop.example.com");
    add_beats(&lab, 1, &[(60, 1, true), (1, 1, false)]);
    assert!(page(&lab, "").contains("100.00%"));
    lab.ok("backup create");
    lab.sql("DELETE FROM heartbeat");
    assert!(!page(&lab, "").contains("100.00%"));
    assert!(page(&lab, "--at latest").contains("100.00%"));
}

#[test]
fn a_report_is_written_again_until_a_signal_comes() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add http --name Shop --url https://shop.example.com");
    let file = lab.root.path().join("page.html");
    let mut child = lab
        .begin(&format!("report {} --every 1s --no-doctor", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let html = || fs::read_to_string(&file).unwrap_or_default();
    wait_until(30, "the page", || html().contains("http-equiv=refresh content=1"));
    lab.sql("UPDATE monitor SET name = 'Renamed'");
    wait_until(30, "the page", || html().contains("Renamed"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
