//! Lists of others on the command line: exports for other tools, and maps.

use std::fs;

use crate::support::lab::Lab;

#[test]
fn exports_for_other_tools_are_read_again() {
    let lab = Lab::sqlite("2.5.3");
    lab.ok("monitor add group --name Web");
    lab.ok("monitor add http --name Shop --parent Web --url https://shop.example.com --tag env=prod --method POST --body '{}'");
    let folder = lab.root.path().join("entities");
    let path = folder.display();
    let said = lab.fails(2, "export --to autokuma").err;
    assert!(said.contains("`--to autokuma` requires `--output FOLDER`"), "{said}");
    lab.fails(2, &format!("export --to autokuma -o {path} --secrets-env a.env"));
    let ran = lab.fails(3, &format!("export --to autokuma --secrets -o {path}"));
    assert!(ran.err.contains("not exported to AutoKuma"), "{}", ran.err);
    assert!(ran.out.contains("wrote 1 tag, 2 monitors to "), "{}", ran.out);
    lab.ok(&format!("plan {path} --detailed-exitcode"));
    let said = lab.fails(2, &format!("export --to autokuma -o {path}")).err;
    assert!(said.contains("is not an empty folder") && said.contains("entities.new"), "{said}");

    let ran = lab.run("export --to terraform --kind tags --kind monitors -o kuma.tf --secrets-env kuma.env");
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let text = fs::read_to_string(lab.root.path().join("kuma.tf")).unwrap();
    assert!(text.contains("to = uptimekuma_monitor_http.web_shop") && text.contains("var.web_shop_body"), "{text}");
    let variables = fs::read_to_string(lab.root.path().join("kuma.env")).unwrap();
    assert_eq!(variables, "export TF_VAR_web_shop_body='{}'\n");
    // What Terraform would evaluate is not read.
    assert!(lab.fails(2, "plan kuma.tf").err.contains("terraform show -json"));
}
