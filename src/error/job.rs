//! Why a scheduled job does not run, or its notification does not arrive.

use std::path::PathBuf;

use super::{Error, ErrorReport, Exit};

/// Scheduled jobs and their notifications.
#[derive(Debug)]
#[allow(missing_docs, reason = "the report of each variant is its documentation")]
#[non_exhaustive]
pub enum JobError {
    Locked {
        job: String,
        holder: String,
    },
    /// One instance of a job.
    Instance {
        instance: String,
        cause: Box<Error>,
    },
    Notification {
        what: String,
        why: String,
    },
    /// A command before or after a run.
    Command {
        program: String,
        why: String,
    },
    NoProgram {
        program: String,
    },
    NoMetricsFolder {
        folder: PathBuf,
    },
    /// A restore test of encrypted snapshots needs the key.
    NoIdentity,
}

impl JobError {
    /// Message, exit code and hints.
    pub fn report(&self) -> ErrorReport {
        match self {
            Self::Locked { job, holder } => ErrorReport::new(
                Exit::Locked,
                if holder.is_empty() {
                    format!("another kumadb process is running job `{job}`")
                } else {
                    format!("another kumadb process is running job `{job}` ({holder})")
                },
            )
            .hint("wait until it has finished, or stop it"),
            Self::Instance { instance, cause } => {
                let report = cause.report();
                ErrorReport { message: format!("`{instance}`: {}", report.message), ..report }
            }
            Self::Notification { what, why } => ErrorReport::new(Exit::Failed, format!("cannot send {what}: {why}"))
                .hint("check its URL in the config file"),
            Self::Command { program, why } => {
                ErrorReport::new(Exit::Failed, format!("command `{program}` failed: {why}"))
                    .hint("run it by hand to see why; it is set in the config file")
            }
            Self::NoProgram { program } => ErrorReport::new(Exit::Usage, format!("program `{program}` not found"))
                .hint("install it, or set its full path in the config file"),
            Self::NoMetricsFolder { folder } => ErrorReport::new(
                Exit::Usage,
                format!("the folder `{}` for the metrics does not exist", folder.display()),
            )
            .command(format!("mkdir -p {}", folder.display())),
            Self::NoIdentity => {
                ErrorReport::new(Exit::Usage, "the restore test must decrypt snapshots, but no `identity_file` is set")
                    .hint("add `identity_file` to the job or its store")
            }
        }
    }
}
