//! Links debug builds at a fixed address. At any other, a start applies 236,000 relocations, which is more than a third of it, and
//! the tests start the binary thousands of times.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| std::env::var(variable).is_ok_and(|set| set == value);
    if is("PROFILE", "debug") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        // The published package has no tests, and the option would be an error.
        if std::path::Path::new("tests/it/main.rs").exists() {
            println!("cargo::rustc-link-arg-tests=-no-pie");
        }
    }
}
