//! How a run ended.

/// How a run ended, as the exit code that scripts see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, nothing changed.
    Failed = 1,
    /// The command line or a value in it is wrong.
    Usage = 2,
    /// Done in part, or with warnings.
    Partial = 3,
    /// Failed after the change was made; rolled back, and the server is up again.
    RolledBack = 4,
    /// Failed, and the rollback failed too: the user must act.
    RollbackFailed = 5,
    /// Another process has the lock, or left an interrupted operation.
    Locked = 6,
    /// A snapshot or a database verification failed.
    Verification = 7,
    /// The target does not exist, or there are several.
    NotFound = 8,
    /// Refused, because it would do harm.
    Refused = 9,
    /// There are changes (`--detailed-exitcode`).
    Changes = 20,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// All of them, the most urgent first.
    const BY_GRAVITY: [Exit; 13] = [
        Exit::RollbackFailed,
        Exit::RolledBack,
        Exit::Terminated,
        Exit::Interrupted,
        Exit::Verification,
        Exit::Failed,
        Exit::Locked,
        Exit::Refused,
        Exit::NotFound,
        Exit::Usage,
        Exit::Partial,
        Exit::Changes,
        Exit::Done,
    ];

    /// How much worse than [`Exit::Done`] it is: of several runs the gravest counts.
    pub fn severity(self) -> usize {
        Self::BY_GRAVITY.iter().rev().position(|exit| *exit == self).unwrap_or_default()
    }

    /// The one with this number.
    pub fn of(code: i32) -> Option<Exit> {
        Self::BY_GRAVITY.into_iter().find(|exit| *exit as i32 == code)
    }

    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Failed => "failed, nothing changed",
            Exit::Usage => "wrong usage",
            Exit::Partial => "partly done, or with warnings",
            Exit::RolledBack => "failed and rolled back",
            Exit::RollbackFailed => "rollback failed, run `kumadb recover`",
            Exit::Locked => "locked, or an operation was interrupted",
            Exit::Verification => "verification failed",
            Exit::NotFound => "not found",
            Exit::Refused => "refused as unsafe, nothing changed",
            Exit::Changes => "there are changes",
            Exit::Interrupted | Exit::Terminated => "interrupted",
        }
    }
}
