//! A container that compose, Watchtower or a person creates again while kumadb works on its instance: another id under the same
//! name, on the same data folder.

use std::fs;
use std::path::Path;

use kumadb::docker::RunState;
use kumadb::error::{DockerError, Error, OperationError, Result};
use kumadb::operation::{self, NoObserver, Observer, Outcome, Resumed, Settings, Step, Transaction};
use tempfile::TempDir;

use crate::support::docked::{Docked, Kind, both};
use crate::support::dockerd::{Folder, Image, cli};
use crate::support::wait::wait_until;
use crate::write::server_fails::renaming;

/// Whether a step is the one at which it happens.
pub type Moment = fn(&Step) -> bool;

/// How the container is created again.
#[derive(Clone, Copy)]
enum How {
    /// Removed, created, started.
    Run,
    /// Removed and created, and left for somebody to start.
    Create,
    /// As compose does it: the new one gets another name until the old one is gone.
    Compose,
}

fn image(lab: &Docked) -> &'static str {
    if lab.kind == Kind::Sqlite { Image::Slim.name() } else { Image::Full.name() }
}

fn recreate(lab: &Docked, how: How, folder: &Folder) {
    let (name, mount) = (lab.server.name.as_str(), folder.mount());
    let made = format!("new_{name}");
    let first = if matches!(how, How::Compose) { made.as_str() } else { name };
    let create = ["create", "--name", first, "--restart", "unless-stopped", "-v", &mount, image(lab)];
    match how {
        How::Run | How::Create => drop((cli(&["rm", "-f", name]), cli(&create))),
        How::Compose => {
            cli(&create);
            cli(&["stop", "-t", "60", name]);
            cli(&["rm", name]);
            cli(&["rename", &made, name]);
        }
    }
    if !matches!(how, How::Create) {
        cli(&["start", name]);
    }
}

/// Does `act` at the first step that `is_datetime` says so of, and notes what was told.
pub struct At<A> {
    is_datetime: Moment,
    act: Option<A>,
    pub reported: Vec<Step>,
}

impl<A: FnOnce()> At<A> {
    pub fn new(is_datetime: Moment, act: A) -> At<A> {
        At { is_datetime, act: Some(act), reported: Vec::new() }
    }
}

impl<A: FnOnce()> Observer for At<A> {
    fn step(&mut self, step: &Step) -> Result<()> {
        if let Some(act) = self.act.take_if(|_| (self.is_datetime)(step)) {
            act();
        }
        self.reported.push(step.clone());
        Ok(())
    }
}

/// The same, and what was told to commit is refused.
struct Refusing<'a>(&'a mut dyn Observer);

impl Observer for Refusing<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        self.0.step(step)?;
        match step {
            Step::Commit => Err(Error::Docker(DockerError::Removed {
                container: "kuma".into(),
                what: "no longer exists".into(),
                unfinished: false,
                hint: None,
            })),
            _ => Ok(()),
        }
    }
}

/// Adds a character to the first monitor's name.
fn write(lab: &Docked, observer: &mut dyn Observer) -> Result<Outcome> {
    let plan = renaming(lab, &format!("{}+", lab.monitors()[0]));
    operation::run(&lab.instance(), &lab.store(), Transaction::Plan(&plan), &Settings::new("monitor edit"), observer)
}

fn id(lab: &Docked) -> String {
    lab.bench.look(&lab.server).id
}

/// Takes a folder away that the container mounts, before the server is started after the commit; puts it there again
/// for the rollback.
struct Unmountable<'a>(&'a Path);

impl Observer for Unmountable<'_> {
    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Committed => fs::remove_dir(self.0).unwrap(),
            Step::Undo { .. } => fs::create_dir(self.0).unwrap(),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn a_server_that_cannot_be_started_is_rolled_back() {
    both(|kind| {
        let extra = tempfile::tempdir().unwrap();
        let folder = extra.path().join("certificates");
        fs::create_dir(&folder).unwrap();
        let mount = format!("type=bind,src={},dst=/certificates", folder.display());
        let Some(lab) = Docked::with(kind, &["--mount", &mount]) else { return };
        let ended = write(&lab, &mut Unmountable(&folder));
        assert!(matches!(ended, Err(Error::Operation(OperationError::RolledBack { .. }))), "{kind:?}: {ended:?}");
        assert_eq!(lab.monitors()[0], "Shop");
        lab.is_well();
    });
}

#[test]
fn a_container_created_again_is_gone_on_with() {
    both(|kind| {
        let Some(lab) = Docked::with(kind, &["--restart", "unless-stopped"]) else { return };
        // What happens after the start is the same on both.
        let last: (Moment, How) = match kind {
            Kind::Sqlite => (|step| *step == Step::WaitUp, How::Run),
            Kind::MariaDb => (|step| matches!(step, Step::WaitBeats { .. }), How::Compose),
        };
        let moments: [(Moment, How); 4] = [
            (|step| *step == Step::Open, How::Create),
            (|step| *step == Step::ReadBack, How::Run),
            (|step| *step == Step::Committed, How::Compose),
            last,
        ];
        let mut name = "Shop".to_owned();
        for (n, (datetime, how)) in moments.into_iter().enumerate() {
            let before = id(&lab);
            let mut observer = At::new(datetime, || recreate(&lab, how, &lab.folder));
            write(&lab, &mut observer).unwrap_or_else(|error| panic!("{kind:?}, moment {n}: {error}"));
            assert_ne!(id(&lab), before);
            assert!(observer.reported.contains(&Step::Follow { container: lab.server.name.clone() }), "moment {n}");
            // One that ran before the commit was restarted, so that it sees the change.
            let since = observer.reported.iter().skip_while(|step| **step != Step::Committed);
            let stops = since.filter(|step| matches!(step, Step::Stop { .. })).count();
            assert!(n != 1 || stops == 1, "{kind:?}: {:?}", observer.reported);
            name.push('+');
            assert_eq!(lab.monitors()[0], name, "{kind:?}, moment {n}");
            lab.is_well();
        }
    });
}

#[test]
fn a_rollback_goes_on_with_a_container_created_again() {
    both(|kind| {
        let Some(lab) = Docked::with(kind, &["--restart", "unless-stopped"]) else { return };
        let before = lab.picture();
        lab.folder.misbehave("crash-if SELECT 1 FROM monitor WHERE name = 'Shop+'");
        let mut observer = At::new(|step| *step == Step::PutBack, || recreate(&lab, How::Create, &lab.folder));
        let ended = write(&lab, &mut observer);
        assert!(matches!(ended, Err(Error::Operation(OperationError::RolledBack { .. }))), "{ended:?}");
        assert_eq!(lab.picture(), before);
        lab.is_well();

        // Before the commit there is nothing to roll back.
        lab.folder.behave();
        let mut observer = At::new(|step| *step == Step::Open, || recreate(&lab, How::Run, &lab.folder));
        let ended = write(&lab, &mut observer);
        match ended {
            Err(error @ Error::Docker(DockerError::Replaced { .. })) => {
                assert!(error.to_string().contains("restarted or recreated by another program"), "{error}")
            }
            other => panic!("{kind:?}: {other:?}"),
        }
        assert_eq!(lab.picture(), before);
        lab.is_well();
    });
}

#[test]
fn a_container_that_is_removed_for_good_is_reported_as_removed() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let remove = || drop(cli(&["rm", "-f", &lab.server.name]));
        let folder = lab.folder.path().display().to_string();
        let removed = |ended: Result<Outcome>| match ended {
            Err(error @ Error::Docker(DockerError::Removed { .. })) => (error.to_string(), error.hint().unwrap()),
            other => panic!("{kind:?}: {other:?}"),
        };
        // SQLite needs no container to be written; MariaDB's own needs one to be opened.
        let (words, hint) = removed(write(&lab, &mut At::new(|step| *step == Step::WaitUp, remove)));
        assert!(words.ends_with("was removed and not recreated; the change is committed"), "{words}");
        assert_eq!(
            hint,
            format!(
                "recreate it with the data folder `{folder}` (docker compose up -d), then run: kumadb -t {folder} \
                 recover"
            )
        );
        assert!(lab.is_unfinished());
        if kind == Kind::Sqlite {
            lab.run_on(&folder, &["recover"]).ended(6).printed("no container on this Docker engine uses");
        }

        // With another data folder it is another server.
        let other: TempDir = tempfile::tempdir().unwrap();
        cli(&[
            "create",
            "--name",
            &lab.server.name,
            "-v",
            &format!("{}:/app/data", other.path().display()),
            image(&lab),
        ]);
        lab.run_on(&folder, &["recover"]).ended(6);
        recreate(&lab, How::Create, &lab.folder);
        lab.run_on(&folder, &["recover"]).ended(0).printed("recreated");
        assert_eq!(lab.monitors()[0], "Shop+");
        lab.is_well();

        // Before the commit nothing is left to be done, and nothing stays open.
        let before = lab.picture();
        let mut observer = At::new(
            |step| *step == Step::Commit,
            || {
                cli(&["rm", "-f", &lab.server.name]);
            },
        );
        let (words, hint) = removed(write(&lab, &mut Refusing(&mut observer)));
        assert!(words.ends_with("was removed and not recreated; the database was not changed"), "{words}");
        assert_eq!(hint, format!("recreate it with the data folder `{folder}` (docker compose up -d)"));
        assert!(!lab.is_unfinished());
        recreate(&lab, How::Run, &lab.folder);
        lab.wait_up();
        assert_eq!(lab.picture(), before);
        lab.is_well();
    });
}

#[test]
fn resume_goes_on_with_a_container_created_again() {
    both(|kind| {
        let Some(lab) = Docked::up(kind) else { return };
        let first = id(&lab);
        lab.folder.misbehave("silent");
        let hasty = Settings { deadline: std::time::Duration::from_secs(2), ..Settings::new("monitor edit") };
        let plan = renaming(&lab, "Shop+");
        // Cut off after the commit, as by a kill.
        struct Cut;
        impl Observer for Cut {
            fn step(&mut self, step: &Step) -> Result<()> {
                match step {
                    Step::WaitUp => std::panic::panic_any("cut off"),
                    _ => Ok(()),
                }
            }
        }
        let instance = lab.instance();
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            operation::run(&instance, &lab.store(), Transaction::Plan(&plan), &hasty, &mut Cut)
        }));
        assert!(cut.is_err() && lab.is_unfinished());
        lab.folder.behave();
        recreate(&lab, How::Create, &lab.folder);
        let mut observer = At::new(|_| false, || {});
        match operation::resume(&lab.instance(), &lab.store(), &Settings::new("recover"), &mut observer).unwrap() {
            Resumed::Finished(..) => {}
            other => panic!("{other:?}"),
        }
        assert!(observer.reported.contains(&Step::Follow { container: lab.server.name.clone() }));
        assert_ne!(id(&lab), first);
        assert_eq!(lab.monitors()[0], "Shop+");
        lab.is_well();
    });
}

#[test]
fn a_newer_image_that_migrates_is_never_stopped() {
    let Some(lab) = Docked::up(Kind::Sqlite) else { return };
    // Another image with the same content.
    let newer = format!("kumadb-test-newer-{}", lab.server.name).to_lowercase();
    cli(&["commit", &lab.server.name, &newer]);
    let mount = lab.folder.mount();
    let update = || {
        lab.folder.misbehave("migrating-unseen");
        cli(&["rm", "-f", &lab.server.name]);
        cli(&["run", "-d", "--name", &lab.server.name, "--restart", "unless-stopped", "-v", &mount, &newer]);
    };
    let plan = renaming(&lab, "Shop+");
    let hasty = Settings { deadline: std::time::Duration::from_secs(5), ..Settings::new("monitor edit") };
    let mut observer = At::new(|step| *step == Step::Close, update);
    let ended = operation::run(&lab.instance(), &lab.store(), Transaction::Plan(&plan), &hasty, &mut observer);
    assert!(matches!(ended, Err(Error::Docker(DockerError::Migrating { .. }))), "{ended:?}");
    assert!(lab.is_unfinished());
    assert_eq!(lab.starts_and_stops().1, 0, "it was told to stop while it migrated");
    lab.folder.behave();
    operation::resume(&lab.instance(), &lab.store(), &Settings::new("recover"), &mut NoObserver).unwrap();
    assert_eq!(lab.monitors()[0], "Shop+");
    lab.is_well();
    cli(&["rm", "-f", &lab.server.name]);
    wait_until(60, "the image is free", || {
        std::process::Command::new("docker").args(["rmi", &newer]).output().unwrap().status.success()
    });
    assert_ne!(
        lab.bench.docker.container(&lab.server.name).unwrap().map(|one| one.state.life),
        Some(RunState::Running)
    );
}
