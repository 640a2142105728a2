//! The binary once more, for `tests/run` to link statically. As a test it is made of the same crates as the tests: those of
//! the binary alone have other features, and would all be compiled again.

#[path = "../src/main.rs"]
mod binary;

fn main() -> anyhow::Result<std::process::ExitCode> {
    binary::main()
}
