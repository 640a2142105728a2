//! The local end of a remote job: its output, typed input, and signals.

use std::io::{IsTerminal as _, Read as _};
use std::sync::mpsc::{Receiver, channel};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::Ui;
use crate::docker::Console;
use crate::operation::Observer as _;
use crate::remote::JobProgress;

/// The kind of input at this end.
pub struct LocalInput<'a> {
    ui: &'a mut Ui,
    /// A user types; `typed` starts to read when it is first asked.
    terminal: Option<Terminal>,
    /// Both ends are terminals, and ours is in raw mode.
    tty: bool,
    /// Whether its result is not for our standard output.
    is_dropped: bool,
}

#[derive(Default)]
struct Terminal {
    typed: Option<Receiver<Vec<u8>>>,
    before: Option<Termios>,
    size: (u16, u16),
}

impl<'a> LocalInput<'a> {
    /// With terminals at both ends, with a program that answers questions, or without input.
    pub fn new(ui: &'a mut Ui, tty: bool, asks: bool) -> LocalInput<'a> {
        LocalInput { ui, terminal: (tty || asks).then(Terminal::default), tty, is_dropped: false }
    }

    /// From here on, its result is not shown: something else is written to standard output.
    pub fn drop_output(&mut self) {
        self.is_dropped = true;
    }
}

impl Terminal {
    /// From here on every key is sent to the remote host, including Ctrl-C.
    fn take_over(&mut self, tty: bool) -> Receiver<Vec<u8>> {
        let stdin = std::io::stdin();
        if tty && let Ok(before) = tcgetattr(&stdin) {
            let mut raw = before.clone();
            raw.make_raw();
            if tcsetattr(&stdin, OptionalActions::Now, &raw).is_ok() {
                self.before = Some(before);
            }
        }
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut keys = [0; 1024];
            while let Ok(n @ 1..) = std::io::stdin().lock().read(&mut keys) {
                if sender.send(keys[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

impl Console for LocalInput<'_> {
    fn out(&mut self, bytes: &[u8]) {
        if !self.is_dropped {
            self.ui.pass_out(bytes);
        }
    }

    fn err(&mut self, bytes: &[u8]) {
        self.ui.pass_err(bytes);
    }

    fn typed(&mut self) -> Vec<u8> {
        let Some(terminal) = &mut self.terminal else { return Vec::new() };
        if terminal.typed.is_none() {
            terminal.typed = Some(terminal.take_over(self.tty));
        }
        terminal.typed.iter().flat_map(|typed| typed.try_iter()).flatten().collect()
    }

    fn signal(&mut self) -> Option<i32> {
        self.ui.take_signal()
    }

    fn resized(&mut self) -> Option<(u16, u16)> {
        let terminal = self.terminal.as_mut().filter(|_| self.tty)?;
        let size = tcgetwinsize(std::io::stdout()).ok()?;
        let size = (size.ws_col, size.ws_row);
        (std::mem::replace(&mut terminal.size, size) != size).then_some(size)
    }
}

impl JobProgress for LocalInput<'_> {
    fn say(&mut self, line: &str) {
        self.ui.say(line);
    }

    fn sent(&mut self, done: u64, total: u64) {
        if std::io::stderr().is_terminal() {
            self.ui.progress(done, total);
        }
    }
}
