//! A part of a test in a process of its own, which can be killed.
//!
//! The part is the function `killed_child` of the module, a test that is ignored unless it is named.

use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::str::FromStr;

/// Runs `killed_child` of `module` (its `module_path!()`) with what it is [`reported`]; whether it was killed. Fails the test
/// if it ended in another way.
#[track_caller]
pub fn is_killed(module: &str, reported: &[(&str, &dyn ToString)]) -> bool {
    let name = format!("{}::killed_child", module.split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .envs(reported.iter().map(|(name, value)| (variable(name), value.to_string())))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("running 1 test"), "{name} is no test: {printed}");
    let is_killed = output.status.signal() == Some(9);
    assert!(
        is_killed || output.status.success(),
        "{name} failed by itself: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    is_killed
}

/// What the child was told under `name`.
pub fn reported<T: FromStr<Err: Debug>>(name: &str) -> T {
    let value = std::env::var(variable(name)).expect("it is started by other tests");
    value.parse().unwrap()
}

fn variable(name: &str) -> String {
    format!("KUMADB_CHILD_{name}")
}
