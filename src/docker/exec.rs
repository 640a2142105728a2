//! Commands run inside a container.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{Container, Docker};
use crate::error::{DockerError, Error, Result};

/// Maximum bytes kept of each output stream.
const MOST: usize = 16 << 20;

/// The result of a command inside a container.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; 126 and 127 also when the command does not exist.
    pub code: i64,
    /// Its stdout, up to 16 MiB.
    pub stdout: Vec<u8>,
    /// Its stderr, up to 16 MiB.
    pub stderr: Vec<u8>,
}

impl Docker {
    /// Runs `argv` inside the running container with `stdin`, and waits for it, at most `limit`.
    ///
    /// # Errors
    /// [`DockerError::Action`] when the container does not run, or the command takes longer; it then continues unattended.
    pub fn exec(&self, container: &Container, argv: &[&str], stdin: &[u8], limit: Duration) -> Result<Output> {
        let run = async { tokio::time::timeout(limit, self.run(&container.id, &container.name, argv, stdin)).await };
        match self.block(run) {
            Ok(output) => output,
            Err(_) => Err(Error::Docker(DockerError::Action {
                act: "run a command in",
                container: container.name.clone(),
                why: format!("`{}` took longer than {} s", argv.first().unwrap_or(&""), limit.as_secs()),
                forbidden: false,
            })),
        }
    }

    async fn run(&self, id: &str, name: &str, argv: &[&str], stdin: &[u8]) -> Result<Output> {
        let failed = |error| self.failed("run a command in", name, &error);
        let config = ExecConfig {
            attach_stdin: Some(!stdin.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(argv.iter().map(|&word| word.to_owned()).collect()),
            ..Default::default()
        };
        let exec = self.client.create_exec(id, config).await.map_err(failed)?;
        let started = self.client.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(failed)?;
        let mut answer = Output { code: 0, stdout: Vec::new(), stderr: Vec::new() };
        if let StartExecResults::Attached { mut output, mut input } = started {
            let write = async move {
                // A command that does not read all of its input closes it; its output is what counts.
                if !stdin.is_empty() && input.write_all(stdin).await.is_ok() {
                    let _ = input.shutdown().await;
                }
                // Returned so that it lives as long as the output: both belong to one connection.
                input
            };
            let read = async {
                while let Some(piece) = output.next().await {
                    match piece.map_err(failed)? {
                        LogOutput::StdErr { message } => keep(&mut answer.stderr, &message),
                        piece => keep(&mut answer.stdout, piece.as_ref()),
                    }
                }
                Ok::<(), Error>(())
            };
            let (_input, read) = futures_util::future::join(write, read).await;
            read?;
        }
        answer.code = self.client.inspect_exec(&exec.id).await.map_err(failed)?.exit_code.unwrap_or(-1);
        Ok(answer)
    }
}

fn keep(kept: &mut Vec<u8>, piece: &[u8]) {
    let room = MOST.saturating_sub(kept.len());
    kept.extend_from_slice(&piece[..piece.len().min(room)]);
}
