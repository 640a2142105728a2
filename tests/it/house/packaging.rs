//! The packages, what is in them, and how they come and go; the scripts and workflows that make them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::house::layers::root;
use crate::support::{need, rounds};

/// Runs `program`, which must succeed; what it printed.
#[track_caller]
pub fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
    let output = Command::new(&program).args(args).current_dir(root()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {args:?}: {printed}", program.as_ref());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The files of `packaging/release`, made from the debug build for this machine.
pub fn release() -> Option<TempDir> {
    let binary = need::static_binary()?;
    let out = tempfile::tempdir().unwrap();
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let words = ["--binary", binary.to_str().unwrap(), "--target", &target, "--out", out.path().to_str().unwrap()];
    run(root().join("packaging/release"), &words);
    Some(out)
}

/// The only file in `folder` whose name ends with `ending`.
#[track_caller]
fn only(folder: &Path, ending: &str) -> PathBuf {
    let all = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    assert_eq!(found.len(), 1, "{ending}: {found:?}");
    found.remove(0)
}

/// What every package installs.
const INSTALLED: [&str; 8] = [
    "usr/bin/kumadb",
    "usr/share/man/man1/kumadb.1.gz",
    "usr/share/man/man1/kumadb-backup-create.1.gz",
    "usr/share/bash-completion/completions/kumadb",
    "usr/share/zsh/vendor-completions/_kumadb",
    "usr/share/fish/vendor_completions.d/kumadb.fish",
    "usr/lib/systemd/system/kumadb.service",
    "usr/share/doc/kumadb/kumadb.toml",
];

/// A root with nothing but a shell.
fn small_root() -> Option<TempDir> {
    let Some(busybox) = need::program(&["busybox"]) else { return need::left_out("the program busybox") };
    if !rustix::process::geteuid().is_root() {
        return need::left_out("the rights of root");
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "tmp"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("var/lib/dpkg/status"), "").unwrap();
    for name in ["sh", "chmod", "rm", "rmdir"] {
        fs::copy(&busybox, folder.path().join("bin").join(name)).unwrap();
    }
    Some(folder)
}

/// Puts a snapshot and a config file where people have them.
fn use_it(root: &Path) {
    for (name, text) in [("var/lib/kumadb/snapshots/one", "snapshot"), ("etc/kumadb/kumadb.toml", "")] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    fs::create_dir_all(root.join("var/lib/kumadb/jobs")).unwrap();
}

#[test]
fn packages_install_run_and_purge_without_a_snapshot_less() {
    // Packing takes most of a minute.
    if !rounds::is_long() {
        return;
    }
    for name in ["dpkg", "dpkg-deb", "rpm", "rpmbuild"] {
        if need::program(&[name]).is_none() {
            return need::left_out(&format!("the program {name}")).unwrap_or_default();
        }
    }
    let Some(files) = release() else { return };
    let path = |file: &Path| file.display().to_string();
    for package in ["deb", "rpm"] {
        let Some(place) = small_root() else { return };
        let place = place.path();
        let file = path(&only(files.path(), &format!(".{package}")));
        let root_option = format!("--root={}", place.display());
        match package {
            "deb" => drop(run("dpkg", &[&root_option, "--force-bad-path", "-i", &file])),
            _ => drop(run("rpm", &[&root_option, "--nodeps", "--nosignature", "-i", &file])),
        }
        for name in INSTALLED {
            assert!(place.join(name).is_file(), "{package}: {name}");
        }
        assert_eq!(fs::metadata(place.join("etc/kumadb")).unwrap().permissions().mode() & 0o777, 0o700, "{package}");
        let unit = fs::read_to_string(place.join("usr/lib/systemd/system/kumadb.service")).unwrap();
        assert!(unit.contains("ExecStart=/usr/bin/kumadb ") && !unit.contains("/usr/local"), "{unit}");
        // There is no libc in this root.
        let version = run("chroot", &[place.to_str().unwrap(), "/usr/bin/kumadb", "--version", "--verbose"]);
        assert!(version.starts_with(concat!("kumadb ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
        use_it(place);
        match package {
            "deb" => drop(run("dpkg", &[&root_option, "--force-bad-path", "--purge", "kumadb"])),
            _ => drop(run("rpm", &[&root_option, "--nodeps", "-e", "kumadb"])),
        }
        for name in INSTALLED {
            assert!(!place.join(name).exists(), "{package}: {name}");
        }
        assert_eq!(fs::read_to_string(place.join("var/lib/kumadb/snapshots/one")).unwrap(), "snapshot", "{package}");
        assert!(place.join("etc/kumadb/kumadb.toml").exists(), "{package}");
    }
    // The sums are those of all files, and the archive has one folder.
    let listed = fs::read_to_string(files.path().join("SHA256SUMS")).unwrap();
    assert_eq!(listed.lines().count(), fs::read_dir(files.path()).unwrap().count() - 1, "{listed}");
    let names = run("tar", &["-tzf", &path(&only(files.path(), ".tar.gz"))]);
    let tops: BTreeSet<&str> = names.lines().filter_map(|name| name.split('/').next()).collect();
    assert_eq!(tops.len(), 1, "{names}");
    for name in ["/kumadb\n", "/LICENSE\n", "/README.md\n", "/man/kumadb.1.gz\n", "/completions/bash\n"] {
        assert!(names.contains(name), "{name}: {names}");
    }
}

/// What the tour prints at last.
const END_OF_TOUR: &str = "monitors        10 (9 active)\n";

#[test]
fn the_tour_goes_to_its_end() {
    let shown = run(root().join("docs/tour"), &[env!("CARGO_BIN_EXE_kumadb")]);
    assert!(shown.contains(END_OF_TOUR), "{shown}");
    if !rounds::is_long() {
        return;
    }
    // And where there is nothing but a shell.
    let (Some(binary), Some(place)) = (need::static_binary(), small_root()) else { return };
    for name in ["docs/tour", "fixtures/tour.yaml"] {
        fs::create_dir_all(place.path().join(name).parent().unwrap()).unwrap();
        fs::copy(root().join(name), place.path().join(name)).unwrap();
    }
    fs::copy(binary, place.path().join("kumadb")).unwrap();
    let shown = run("chroot", &[place.path().to_str().unwrap(), "/bin/sh", "/docs/tour", "/kumadb"]);
    assert!(shown.contains(END_OF_TOUR), "{shown}");
}

/// Every shell script of the project.
fn scripts() -> Vec<PathBuf> {
    let folders = ["packaging", "packaging/deb", "tests", "tests/stand-in", "docs", ".ci"];
    let all = folders.iter().flat_map(|folder| fs::read_dir(root().join(folder)).unwrap().flatten());
    let is_script = |path: &PathBuf| path.is_file() && fs::read(path).is_ok_and(|text| text.starts_with(b"#!"));
    all.map(|entry| entry.path()).filter(is_script).collect()
}

#[test]
fn scripts_pass_shellcheck() {
    if need::program(&["shellcheck"]).is_none() {
        return need::left_out("the program shellcheck").unwrap_or_default();
    }
    let is_shell =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.lines().next().unwrap().ends_with("sh"));
    let scripts: Vec<String> =
        scripts().iter().filter(|path| is_shell(path)).map(|path| path.display().to_string()).collect();
    assert!(scripts.len() > 8, "{scripts:?}");
    let output = Command::new("shellcheck").arg("--severity=warning").args(&scripts).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn units_are_valid_and_confined() {
    if need::program(&["systemd-analyze"]).is_none() {
        return need::left_out("the program systemd-analyze").unwrap_or_default();
    }
    let place = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in fs::read_dir(root().join("packaging")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".service") && !name.ends_with(".timer") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        // An instance of a template.
        let unit = place.path().join(name.replace('@', "@full"));
        fs::write(&unit, text.replace("/usr/local/bin/kumadb", env!("CARGO_BIN_EXE_kumadb"))).unwrap();
        units.push(unit.display().to_string());
    }
    for unit in &units {
        check_unit(unit, 22);
    }
    assert!(units.len() >= 5, "{units:?}");
    // A file of changes, which systemd reads after the unit.
    let unit = place.path().join("kumadb.service");
    let changes = fs::read_to_string(root().join("packaging/kumadb-owner.conf")).unwrap();
    fs::write(&unit, format!("{}\n{changes}", fs::read_to_string(&unit).unwrap())).unwrap();
    check_unit(&unit.display().to_string(), 15);
}

/// Fails if systemd finds a mistake in `unit`, or rates its exposure above `most` tenths.
fn check_unit(unit: &str, most: u32) {
    let output = Command::new("systemd-analyze").args(["verify", "--man=no", unit]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = printed.lines().filter(|line| line.contains("kumadb")).collect();
    assert!(ours.is_empty(), "{unit}: {printed}");
    if unit.ends_with(".service") {
        let threshold = format!("--threshold={most}");
        let args = ["security", "--offline=true", &threshold, "--no-pager", unit];
        let output = Command::new("systemd-analyze").args(args).output().unwrap();
        assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// What a workflow may run besides scripts of the project, which are tested here.
const TOOLS: [&str; 10] =
    ["rustup", "pip", "cargo", "docker", "gh", "sudo", "apt-get", "--preserve-env=HOME,PATH", "install", "--yes"];

#[test]
fn workflows_run_nothing_but_scripts_that_are_tested() {
    let mut seen = BTreeSet::new();
    for name in ["ci", "release"] {
        let text = fs::read_to_string(root().join(format!(".github/workflows/{name}.yml"))).unwrap();
        assert!(text.contains("\npermissions:\n  contents: read\n"), "{name}: a job gets no more rights than it names");
        let runs = text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: "));
        for line in runs {
            for word in line.split("&&").flat_map(|part| part.split_whitespace().next()) {
                let is_script = root().join(word).is_file();
                assert!(is_script || TOOLS.contains(&word) || word == "echo", "{name}: {line}");
            }
            seen.extend(
                line.split_whitespace()
                    .filter(|word| word.starts_with("packaging/") || *word == ".ci/run")
                    .map(str::to_owned),
            );
        }
    }
    let expected = [
        ".ci/run",
        "packaging/aur",
        "packaging/check-tag",
        "packaging/collect",
        "packaging/image",
        "packaging/notes",
        "packaging/release",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// `packaging/aur` for the release in `folder`.
fn pkgbuild(folder: &Path) -> std::process::Output {
    let url = "https://example.org/kumadb/releases/download/v0";
    Command::new(root().join("packaging/aur")).arg(folder).arg(url).output().unwrap()
}

#[test]
fn the_recipe_for_arch_linux_has_every_machine_of_the_release() {
    let place = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let name = |machine: &str| format!("kumadb-{version}-{machine}.tar.gz");
    let (x86, arm) = (name("x86_64-unknown-linux-musl"), name("armv7-unknown-linux-musleabihf"));
    fs::write(place.path().join("SHA256SUMS"), format!("aa  {x86}\nbb  {arm}\ncc  kumadb_{version}-1_amd64.deb\n"))
        .unwrap();
    let recipe = String::from_utf8(pkgbuild(place.path()).stdout).unwrap();
    let lines = [
        format!("pkgver={version}"),
        "arch=(x86_64 armv7h)".to_owned(),
        "url=https://example.org/kumadb".to_owned(),
        format!("source_x86_64=('https://example.org/kumadb/releases/download/v0/{x86}')"),
        "sha256sums_x86_64=('aa')".to_owned(),
        format!("source_armv7h=('https://example.org/kumadb/releases/download/v0/{arm}')"),
        "sha256sums_armv7h=('bb')".to_owned(),
    ];
    for line in lines {
        assert!(recipe.lines().any(|found| found == line), "{line}: {recipe}");
    }
    fs::write(place.path().join("SHA256SUMS"), "aa  kumadb-0.0.0-x86_64-unknown-linux-musl.tar.gz\n").unwrap();
    let refused = pkgbuild(place.path());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

/// In the long form, because it needs three more packages.
#[test]
fn the_package_of_arch_linux_installs_what_the_others_install() {
    if !rounds::is_long() {
        return;
    }
    if need::program(&["makepkg"]).is_none() {
        return need::left_out("the program makepkg").unwrap_or_default();
    }
    let Some(files) = release() else { return };
    let work = tempfile::tempdir().unwrap();
    let recipe = pkgbuild(files.path());
    assert!(recipe.status.success(), "{recipe:?}");
    fs::write(work.path().join("PKGBUILD"), recipe.stdout).unwrap();
    let archive = only(files.path(), "-musl.tar.gz");
    fs::copy(&archive, work.path().join(archive.file_name().unwrap())).unwrap();
    // It refuses to run as root, and asks pacman about nothing that matters here.
    run("chown", &["-R", "65534:65534", work.path().to_str().unwrap()]);
    let made = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "makepkg", "--nodeps"])
        .env("PACMAN", "true")
        .env("HOME", work.path())
        .current_dir(work.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let package = fs::read_dir(work.path()).unwrap().flatten().map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.to_string_lossy().contains(".pkg.tar")).unwrap();
    let listed = run("tar", &["-tf", package.to_str().unwrap()]);
    for file in INSTALLED {
        let file = file.replace("zsh/vendor-completions", "zsh/site-functions");
        assert!(listed.lines().any(|line| line == file), "{file}: {listed}");
    }
}

#[test]
fn a_release_needs_a_tag_and_notes_for_its_version() {
    let version = env!("CARGO_PKG_VERSION");
    let script = |name: &str| root().join("packaging").join(name);
    run(script("check-tag"), &[&format!("v{version}")]);
    assert!(run(script("notes"), &[version]).lines().count() > 3);
    for (name, word) in [("check-tag", "v0.0.1"), ("notes", "0.0.1")] {
        let output = Command::new(script(name)).arg(word).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

#[test]
fn the_files_of_several_machines_become_one_release() {
    let place = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let part = place.path().join("parts").join(name);
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join(format!("kumadb-{name}.tar.gz")), name).unwrap();
        run("sh", &["-c", &format!("cd '{}' && sha256sum kumadb-* >SHA256SUMS", part.display())]);
    }
    let (from, to) = (place.path().join("parts"), place.path().join("all"));
    let words = [from.to_str().unwrap(), to.to_str().unwrap()];
    run(root().join("packaging/collect"), &words);
    run("sh", &["-c", &format!("cd '{}' && sha256sum --check --strict SHA256SUMS", to.display())]);
    assert_eq!(fs::read_to_string(to.join("SHA256SUMS")).unwrap().lines().count(), 2);
    // A file that was damaged on its way is noticed.
    fs::write(from.join("a/kumadb-a.tar.gz"), "other").unwrap();
    assert!(!Command::new(root().join("packaging/collect")).args(words).status().unwrap().success());
}
