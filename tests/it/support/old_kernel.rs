//! A kernel that lacks what newer ones have, as on old network storage devices and in containers with an old seccomp filter.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Runs `work` where `openat2` (Linux 5.6) and Landlock (5.13) do not exist, nor for the processes that it starts.
pub fn without_new_calls<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let calls = [
        libc::SYS_openat2,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ];
    let rules: BTreeMap<i64, Vec<_>> = calls.map(|call| (call, Vec::new())).into();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    thread::scope(|scope| {
        let limited = scope.spawn(move || {
            apply_filter(&program).unwrap();
            work()
        });
        limited.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
