//! A database that cannot be read any more: its files are kept, and a snapshot is put in their place.

use std::fs;

use crate::support::lab::Lab;

#[test]
fn a_snapshot_takes_the_place_of_what_cannot_be_read() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    lab.ok("backup create");
    let file = lab.folder().join("kuma.db");
    let whole = fs::read(&file).unwrap();
    for damage in [
        Vec::new(),
        b"no database at all".to_vec(),
        whole.iter().map(|byte| byte ^ 0x5a).collect(),
        whole[..5000].to_vec(),
    ] {
        fs::write(&file, &damage).unwrap();
        lab.fails(7, "monitor list");
        lab.ok("restore latest --yes");
        assert!(lab.ok("monitor list").contains("  1  A "));
        // What was there is in the newest snapshot, byte for byte.
        let listed: serde_json::Value = serde_json::from_str(&lab.ok("backup list --json")).unwrap();
        let kept = listed["snapshots"].as_array().unwrap().last().unwrap();
        assert_eq!(kept["manifest"]["raw"], true);
        assert_eq!(kept["manifest"]["members"][0]["blake3"], blake3::hash(&damage).to_hex().as_str());
        let id = kept["manifest"]["id"].as_str().unwrap();
        lab.fails(9, &format!("restore {id} --yes"));
        // A change before it is not undone instead.
        let refused = lab.fails(9, "undo --yes");
        assert!(refused.err.contains(&format!("snapshot `{id}` contains its files")), "{}", refused.err);
        assert!(lab.ok("monitor list").contains("  1  A "));
        let left = crate::support::lab::left_in(&lab.folder().join(".kumadb"));
        assert_eq!(left, ["lock"]);
    }
}

#[test]
fn a_snapshot_takes_the_place_of_a_file_that_is_gone() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name A");
    lab.ok("backup create");
    lab.ok("monitor add group --name B");
    fs::remove_file(lab.folder().join("kuma.db")).unwrap();
    for line in ["status", "monitor list", "backup create"] {
        let ran = lab.fails(7, line);
        assert!(ran.err.contains("kuma.db` does not exist") && ran.err.contains("kumadb restore ID"), "{}", ran.err);
    }
    assert!(lab.ok("doctor").contains("or restore a snapshot: kumadb backup list"));
    lab.ok("restore latest --yes");
    let listed = lab.ok("monitor list");
    assert!(listed.contains("  1  A ") && !listed.contains(" B "), "{listed}");
    assert!(!lab.ok("status").contains("restore"));
    // The next change can be undone, and nothing before it unless it is named.
    lab.ok("monitor add group --name C");
    lab.ok("undo --yes");
    let refused = lab.fails(9, "undo --yes");
    let named = refused.err.split("kumadb undo ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    lab.ok(&format!("undo {named} --yes"));
}
