//! The examples and notes at the end of each `--help`; tests run every example.
//!
//! This file is a table.

/// The end of the help of `kumadb` itself.
const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed, nothing changed
  2    usage error
  3    partly done, or with warnings
  4    failed and rolled back, the server is running
  5    rollback failed: run kumadb recover immediately
  6    locked, or an operation was interrupted
  7    verification failed
  8    target not found, or not unique
  9    refused as unsafe, nothing changed
  20   there are changes or findings (with --detailed-exitcode)
  130  interrupted by a signal (also 143)";

/// Notes of one verb that are neither options nor examples.
pub const NOTES: [(&str, &str); 2] = [
    ("kumadb", EXIT_CODES),
    ("kumadb backup check", "Exit codes, as for Nagios plugins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."),
];

/// The examples of a verb: what each does, and the command.
type Examples = &'static [(&'static str, &'static str)];

/// The examples of every verb; those of `monitor add TYPE` are made of its fields.
pub const EXAMPLES: &[(&str, Examples)] = &[
    (
        "kumadb",
        &[
            ("Show the instances on this machine", "kumadb find"),
            ("Create a snapshot of the only instance", "kumadb backup create"),
            ("Preview a change", "kumadb monitor edit Shop --interval 30 --dry-run"),
        ],
    ),
    (
        "kumadb find",
        &[
            ("List the instances on this machine", "kumadb find"),
            ("List the instances on a remote Docker host as JSON", "kumadb -H ssh://root@kuma.example.com find --json"),
        ],
    ),
    (
        "kumadb status",
        &[
            ("Show the status of the only instance", "kumadb status"),
            ("Show the status of all instances in the config file", "kumadb status --all"),
        ],
    ),
    (
        "kumadb maintenance",
        &[
            ("List maintenance windows", "kumadb maintenance list"),
            ("Start one of 45 minutes", "kumadb maintenance start --tag env=prod --for 45m --title Upgrade"),
            ("End it now", "kumadb maintenance end Deploy"),
        ],
    ),
    (
        "kumadb maintenance list",
        &[
            ("List maintenance windows", "kumadb maintenance list"),
            ("Write them as CSV", "kumadb maintenance list --format csv"),
        ],
    ),
    (
        "kumadb maintenance start",
        &[
            (
                "Start one for all monitors with a tag",
                "kumadb maintenance start --tag env=prod --for 45m --title Upgrade",
            ),
            ("Show it on a status page, too", "kumadb maintenance start Network --for 2h --status-page default"),
        ],
    ),
    (
        "kumadb maintenance schedule",
        &[
            (
                "Schedule one for a group",
                "kumadb maintenance schedule --group Network --from '2099-01-31 22:00' --for 2h",
            ),
            ("Preview it", "kumadb maintenance schedule Shop --from 2099-01-31T22:00:00Z --for 30m --dry-run"),
        ],
    ),
    (
        "kumadb maintenance end",
        &[
            ("End a window by its title", "kumadb maintenance end Deploy"),
            ("Preview it", "kumadb maintenance end Deploy --dry-run"),
        ],
    ),
    (
        "kumadb report",
        &[
            ("Write a page with status, uptime and outages", "kumadb report status.html"),
            ("Write what the public status page shows", "kumadb report public.html --status-page default"),
            ("Write it again every minute, for a web server", "kumadb report /var/www/html/status.html --every 60s"),
        ],
    ),
    (
        "kumadb monitor",
        &[
            ("List all monitors", "kumadb monitor list"),
            ("Add a monitor", "kumadb monitor add http --name Blog --url https://blog.example.com"),
            ("Pause a monitor", "kumadb monitor pause Shop"),
        ],
    ),
    (
        "kumadb monitor list",
        &[
            ("List the monitors that are down", "kumadb monitor list --down"),
            ("List the paused monitors of a group", "kumadb monitor list --group Network --paused"),
            ("Show the last heartbeats, targets and tags, too", "kumadb monitor list --format wide"),
        ],
    ),
    (
        "kumadb monitor uptime",
        &[
            ("Show the uptime of all monitors", "kumadb monitor uptime"),
            ("Show that of the last 7 days", "kumadb monitor uptime --since 7d"),
            ("Write that of January as CSV", "kumadb monitor uptime --from 2026-01-01 --to 2026-02-01 --format csv"),
        ],
    ),
    (
        "kumadb monitor outages",
        &[
            ("List the outages of the last 7 days", "kumadb monitor outages"),
            ("List those of a group since Monday", "kumadb monitor outages --group Network --since monday"),
        ],
    ),
    (
        "kumadb monitor show",
        &[
            ("Show a monitor by its path", "kumadb monitor show Network/Router"),
            ("Show every field, passwords included", "kumadb monitor show Shop --all --secrets"),
        ],
    ),
    (
        "kumadb monitor add",
        &[
            ("Add an HTTP monitor", "kumadb monitor add http --name Blog --url https://blog.example.com"),
            (
                "Add a ping monitor to a group",
                "kumadb monitor add ping --name Printer --hostname 192.168.1.5 --parent Network",
            ),
        ],
    ),
    (
        "kumadb monitor edit",
        &[
            ("Change the interval of all monitors of a group", "kumadb monitor edit --group Network --interval 30"),
            ("Preview other changes", "kumadb monitor edit Shop --timeout 20 --add-tag env=test -n"),
            ("Set a field by its column name", "kumadb monitor edit --name '*' --not-type push --set maxretries=3"),
        ],
    ),
    (
        "kumadb monitor clone",
        &[
            ("Clone a monitor", "kumadb monitor clone Router --name Switch"),
            ("Clone it with another host name", "kumadb monitor clone Router --name Switch --hostname 192.168.1.2"),
        ],
    ),
    (
        "kumadb monitor delete",
        &[
            ("Preview a deletion", "kumadb monitor delete Shop --dry-run"),
            ("Delete a group and all monitors in it", "kumadb monitor delete Network --with-children"),
        ],
    ),
    (
        "kumadb monitor pause",
        &[
            ("Pause one monitor", "kumadb monitor pause Shop"),
            ("Pause all monitors with a tag", "kumadb monitor pause --tag env=prod"),
        ],
    ),
    (
        "kumadb monitor resume",
        &[
            ("Resume one monitor", "kumadb monitor resume Cron"),
            ("Resume all paused monitors", "kumadb monitor resume --paused"),
        ],
    ),
    (
        "kumadb plan",
        &[
            ("Show the changes of a fixture", "kumadb plan kuma.yaml"),
            ("Save the plan to apply it later", "kumadb plan kuma.yaml --output kuma.plan"),
        ],
    ),
    (
        "kumadb drift",
        &[
            ("Fail if the instance differs from a fixture", "kumadb drift kuma.yaml"),
            ("Show the differences in a pull request on GitHub", "kumadb drift kuma.yaml --format github"),
        ],
    ),
    (
        "kumadb apply",
        &[
            ("Apply a fixture after a confirmation prompt", "kumadb apply kuma.yaml"),
            (
                "Preview, deleting resources that the fixture does not contain",
                "kumadb apply kuma.yaml --prune --dry-run",
            ),
            ("Import monitors from a CSV file", "kumadb apply monitors.csv --from csv"),
        ],
    ),
    (
        "kumadb export",
        &[
            ("Export everything to a fixture", "kumadb export --output all.yaml"),
            ("Export the monitors of a group as CSV", "kumadb export --group Network --format csv"),
            (
                "Export monitors to Terraform",
                "kumadb export --to terraform --monitors --output kuma.tf --secrets-env kuma.env",
            ),
        ],
    ),
    (
        "kumadb init",
        &[
            ("Create a data folder without a user", "kumadb init ./new-data"),
            (
                "Create a data folder for an older release, with an admin",
                "kumadb init ./old-data --release 2.0.2 --admin admin --password-file password.txt",
            ),
        ],
    ),
    (
        "kumadb doctor",
        &[
            ("Diagnose an instance", "kumadb doctor"),
            ("Preview the fixes", "kumadb doctor --fix --dry-run"),
            ("Explain a finding", "kumadb doctor --explain K014"),
        ],
    ),
    (
        "kumadb probe",
        &[
            ("Check the web UI, /metrics and badges", "kumadb probe"),
            ("Check a server behind a proxy", "kumadb probe --url https://kuma.example.com"),
        ],
    ),
    (
        "kumadb push",
        &[
            ("Send a heartbeat", "kumadb push Cron"),
            ("Report a failure", "kumadb push Cron --status down --msg 'backup failed'"),
        ],
    ),
    (
        "kumadb user",
        &[("List the users", "kumadb user list"), ("Reset the password of the only user", "kumadb user password")],
    ),
    (
        "kumadb user list",
        &[("List the users", "kumadb user list"), ("List them as CSV", "kumadb user list --format csv")],
    ),
    (
        "kumadb user add",
        &[
            ("Add a user and ask for the password", "kumadb user add maria"),
            ("Read the password from a file", "kumadb user add maria --password-file password.txt"),
        ],
    ),
    (
        "kumadb user password",
        &[
            ("Reset the password of the only user", "kumadb user password"),
            ("Read the password from a file", "kumadb user password admin --password-file password.txt"),
        ],
    ),
    (
        "kumadb user rename",
        &[
            ("Rename a user", "kumadb user rename admin maria"),
            ("Preview it", "kumadb user rename admin maria --dry-run"),
        ],
    ),
    (
        "kumadb user disable-2fa",
        &[
            ("Disable 2FA of the only user", "kumadb user disable-2fa"),
            ("Preview it for a named user", "kumadb user disable-2fa admin --dry-run"),
        ],
    ),
    (
        "kumadb user activate",
        &[("Activate a user", "kumadb user activate admin"), ("Preview it", "kumadb user activate admin --dry-run")],
    ),
    (
        "kumadb user adopt",
        &[
            ("Assign orphaned items to the only user", "kumadb user adopt"),
            ("Preview it for a named user", "kumadb user adopt admin --dry-run"),
        ],
    ),
    (
        "kumadb user sign-out",
        &[("Sign out all users", "kumadb user sign-out"), ("Preview it", "kumadb user sign-out --dry-run")],
    ),
    (
        "kumadb api-key",
        &[
            ("List the API keys", "kumadb api-key list"),
            ("Add an API key for Prometheus", "kumadb api-key add prometheus"),
        ],
    ),
    (
        "kumadb api-key list",
        &[("List the API keys", "kumadb api-key list"), ("List them as JSON", "kumadb api-key list --json")],
    ),
    (
        "kumadb api-key add",
        &[
            ("Add an API key for Prometheus", "kumadb api-key add prometheus"),
            ("Add one that expires", "kumadb api-key add audit --expires 2030-01-31"),
        ],
    ),
    (
        "kumadb api-key disable",
        &[
            ("Disable an API key", "kumadb api-key disable grafana"),
            ("Preview it", "kumadb api-key disable grafana --dry-run"),
        ],
    ),
    (
        "kumadb api-key enable",
        &[
            ("Enable an API key", "kumadb api-key enable grafana"),
            ("Preview it", "kumadb api-key enable grafana --dry-run"),
        ],
    ),
    (
        "kumadb api-key delete",
        &[
            ("Delete an API key", "kumadb api-key delete grafana"),
            ("Preview it", "kumadb api-key delete grafana --dry-run"),
        ],
    ),
    (
        "kumadb backup",
        &[
            ("Create and verify a snapshot", "kumadb backup create"),
            ("List the backups", "kumadb backup list"),
            ("Verify the newest snapshot", "kumadb backup verify latest"),
        ],
    ),
    (
        "kumadb backup create",
        &[
            ("Create and verify a snapshot", "kumadb backup create"),
            ("Leave out the heartbeat history", "kumadb backup create --config-only"),
            ("Store it in two locations", "kumadb backup create --store ./near --store ./second"),
        ],
    ),
    (
        "kumadb backup list",
        &[
            ("List the backups", "kumadb backup list"),
            ("List the undo snapshots as CSV", "kumadb backup list --undo --format csv"),
        ],
    ),
    (
        "kumadb backup show",
        &[
            ("Show the newest snapshot", "kumadb backup show latest"),
            ("Also list the monitors in it", "kumadb backup show latest --monitors"),
        ],
    ),
    (
        "kumadb backup verify",
        &[
            ("Verify the newest snapshot", "kumadb backup verify latest"),
            ("Run a restore test of every snapshot", "kumadb backup verify --restore-test"),
        ],
    ),
    (
        "kumadb backup check",
        &[
            ("Check the newest backup of every instance", "kumadb backup check"),
            ("Set the limits", "kumadb -t kuma backup check --max-age 26h --verified-within 30d"),
        ],
    ),
    (
        "kumadb backup prune",
        &[
            ("Preview a retention policy", "kumadb backup prune --keep-daily 14 --keep-monthly 12 --dry-run"),
            ("Keep the newest 7 snapshots of one instance", "kumadb -t kuma backup prune --keep-last 7"),
        ],
    ),
    (
        "kumadb backup schedule",
        &[
            ("Run the jobs of the config file until Ctrl-C", "kumadb backup schedule"),
            ("Run one job now", "kumadb backup schedule --once nightly"),
        ],
    ),
    (
        "kumadb restore",
        &[
            ("Preview what a restore changes", "kumadb restore latest --dry-run"),
            ("Restore the last snapshot before a date", "kumadb restore --before yesterday"),
            ("Create a new instance from a snapshot", "kumadb restore latest --to ./copy --engine sqlite"),
        ],
    ),
    (
        "kumadb undo",
        &[
            ("Show the newest change", "kumadb undo --dry-run"),
            ("Undo the change after a confirmation prompt", "kumadb undo"),
        ],
    ),
    (
        "kumadb upgrade",
        &[
            ("Check whether the upgrade is possible", "kumadb upgrade --check"),
            ("Do it on a copy and show what would change", "kumadb upgrade --dry-run"),
            ("Upgrade to this release", "kumadb upgrade --to 2.5.3"),
        ],
    ),
    (
        "kumadb salvage",
        &[
            ("Show what can be recovered", "kumadb salvage ./data/kuma.db --dry-run"),
            ("Write the recovered rows to a new database", "kumadb salvage ./data/kuma.db --to ./rescued.db"),
        ],
    ),
    (
        "kumadb history",
        &[
            ("Show the size of the heartbeat history", "kumadb history stats"),
            ("Preview: keep 30 days of heartbeats", "kumadb history prune --keep 30 --dry-run"),
        ],
    ),
    (
        "kumadb history stats",
        &[
            ("Show the size of the heartbeat history", "kumadb history stats"),
            ("Show the 5 largest monitors", "kumadb history stats --top 5"),
        ],
    ),
    (
        "kumadb history prune",
        &[
            ("Preview: keep 30 days of heartbeats", "kumadb history prune --keep 30 --dry-run"),
            ("Delete the rest and reclaim disk space", "kumadb history prune --keep 30 --vacuum"),
        ],
    ),
    (
        "kumadb convert",
        &[
            (
                "Preview the move from SQLite to MariaDB",
                "kumadb convert --to mariadb://kuma@db.example.com/kuma --dry-run",
            ),
            ("Use the MariaDB in the container", "kumadb convert --to embedded"),
            ("Return to SQLite", "kumadb convert --to sqlite"),
        ],
    ),
    (
        "kumadb vacuum",
        &[("Show how much can be reclaimed", "kumadb vacuum --dry-run"), ("Reclaim disk space", "kumadb vacuum")],
    ),
    (
        "kumadb sql",
        &[
            ("Query the database", "kumadb sql 'SELECT id, name FROM monitor'"),
            ("Write the rows to a CSV file", "kumadb sql 'SELECT * FROM tag' --format csv --output tags.csv"),
            ("Preview a change", "kumadb sql --write 'UPDATE monitor SET maxretries = 2' --dry-run"),
        ],
    ),
    (
        "kumadb restart",
        &[
            ("Restart the server and verify that it is running", "kumadb restart"),
            ("Allow more time to stop", "kumadb restart --grace 3m"),
        ],
    ),
    (
        "kumadb logs",
        &[
            ("Show the last 100 lines", "kumadb logs --tail 100"),
            ("Follow the log, starting 10 minutes ago", "kumadb logs --since 10m --follow"),
        ],
    ),
    (
        "kumadb recover",
        &[
            ("Preview the recovery", "kumadb recover --dry-run"),
            ("Finish or roll back the interrupted operation", "kumadb recover"),
        ],
    ),
    (
        "kumadb config",
        &[
            ("Write a config file for the instances on this machine", "kumadb config init --config ./new.toml"),
            ("Check the config file, and test every URL in it", "kumadb config check --connect"),
        ],
    ),
    (
        "kumadb config init",
        &[
            ("Preview the config file", "kumadb config init --config ./new.toml --dry-run"),
            (
                "Encrypt the snapshots with a new key, and write a systemd unit",
                "kumadb config init --config ./new.toml --encrypt --service systemd",
            ),
        ],
    ),
    (
        "kumadb config check",
        &[
            ("Check the config file", "kumadb config check"),
            ("Also test every URL in it", "kumadb config check --connect"),
        ],
    ),
];

/// The same of verbs that need no instance.
pub const TOOLS: [(&str, Examples); 4] = [
    (
        "kumadb formats",
        &[
            ("List the formats that plan and apply read", "kumadb formats"),
            ("The same as JSON", "kumadb formats --json"),
        ],
    ),
    ("kumadb schema", &[("Save the schema for an editor", "kumadb schema fixture > kuma.schema.json")]),
    (
        "kumadb completions",
        &[
            ("Install completions for bash", "kumadb completions bash > /etc/bash_completion.d/kumadb"),
            ("Install completions for fish", "kumadb completions fish > ~/.config/fish/completions/kumadb.fish"),
        ],
    ),
    (
        "kumadb man",
        &[
            ("Read the manual page of a command", "kumadb man backup create | man -l -"),
            ("Write all manual pages to a folder", "kumadb man --output ./man1"),
        ],
    ),
];
