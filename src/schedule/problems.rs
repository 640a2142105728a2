//! Problems with what a config file refers to. Nothing is written for these checks, and no network is used.

use super::alert::check_url;
use crate::backup::{Credentials, Store};
use crate::config::{ConfigFile, Job, open_stores};
use crate::error::{Error, JobError, Result};
use crate::files;

/// All problems, each with its table in the config file. `is_program` returns whether a command can be executed.
pub fn problems(
    config: &ConfigFile,
    credentials: &Credentials,
    fallback: &Store,
    is_program: &dyn Fn(&str) -> bool,
) -> Vec<(String, Error)> {
    let mut all = Vec::new();
    let mut look = |table: String, looks: Vec<Result<()>>| {
        let wrong = looks.into_iter().filter_map(Result::err);
        all.extend(wrong.map(|error| (table.clone(), error)));
    };
    for (name, place) in &config.stores {
        let opened = open_stores(&[place], credentials, fallback);
        look(format!("stores.{name}"), vec![opened.map(drop)]);
    }
    for (name, target) in &config.instances {
        look(format!("instances.{name}"), vec![target.target.read().map(drop), target.encryption().map(drop)]);
    }
    for job in &config.jobs {
        let mut looks = vec![look_at_keys(job, config)];
        looks.extend(job.alerts.iter().map(check_url));
        looks.extend([&job.before, &job.after, &job.on_failure].into_iter().filter_map(|words| words.first()).map(
            |program| {
                if is_program(program) {
                    Ok(())
                } else {
                    Err(Error::Job(JobError::NoProgram { program: program.to_owned() }))
                }
            },
        ));
        if let Some(folder) =
            job.metrics.as_ref().and_then(|file| file.parent()).filter(|folder| !files::is_folder(folder))
        {
            looks.push(Err(Error::Job(JobError::NoMetricsFolder { folder: folder.to_owned() })));
        }
        look(format!("jobs.{}", job.name), looks);
    }
    all
}

/// Whether the snapshots can be encrypted, and a restore test can open them.
fn look_at_keys(job: &Job, config: &ConfigFile) -> Result<()> {
    let (mut encrypted, keys) = (job.encryption()?.is_some(), job.keys()?);
    for target in job.instances.iter().filter_map(|name| config.instances.get(name)) {
        // An unreadable file is reported by its own check.
        encrypted |= matches!(target.encryption(), Ok(Some(_)));
    }
    if encrypted && keys.is_empty() && job.restore_test_every > 0 {
        Err(Error::Job(JobError::NoIdentity))
    } else {
        Ok(())
    }
}
