//! A model in a program: a request is a line of its input, and the answer a line of its output.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Link, RemoteSettings, wire};
use crate::{Error, Result, legible};

/// The request for the program's description.
const DESCRIBE: &str = r#"{"describe":true}"#;

/// The number of bytes kept from the end of the program's error output.
const KEPT: usize = 400;

/// How long to wait for the last output of a program that has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Starts the program.
#[derive(Clone)]
pub(super) struct Launcher {
    words: Vec<String>,
    timeout: Duration,
    start_timeout: Duration,
}

impl Launcher {
    pub(super) fn new(line: &str, settings: &RemoteSettings) -> Result<Self> {
        let words =
            shlex::split(line).filter(|words| words.first().is_some_and(|word| !word.is_empty()));
        let words = words.ok_or_else(|| {
            Error::invalid(format!(
                "{:?} is not a valid command; is a quotation mark missing?",
                legible::name(line)
            ))
        })?;
        Ok(Self {
            words,
            timeout: settings.timeout,
            start_timeout: settings.start_timeout,
        })
    }

    /// Returns a link, which starts its program at the first question.
    pub(super) fn pipe(&self) -> Pipe {
        Pipe {
            launcher: self.clone(),
            program: None,
        }
    }
}

/// A program that stays alive between questions. One that did not answer is killed, and the next question starts a new
/// one.
pub(super) struct Pipe {
    launcher: Launcher,
    program: Option<Program>,
}

impl Link for Pipe {
    fn describe(&mut self) -> Result<String, String> {
        self.ask(DESCRIBE)
    }

    fn ask(&mut self, request: &str) -> Result<String, String> {
        let (mut program, timeout) = match self.program.take() {
            Some(program) => (program, self.launcher.timeout),
            None => (
                Program::start(&self.launcher.words)?,
                self.launcher.start_timeout,
            ),
        };
        let answer = program.ask(request, timeout)?;
        self.program = Some(program);
        wire::text(answer)
    }
}

/// A line of output, or the reason why there are no more.
type Line = Result<Vec<u8>, String>;

/// A running program. Threads serve its pipes, so every wait for it can time out.
struct Program {
    child: Child,
    requests: Sender<String>,
    lines: Receiver<Line>,
    /// The end of its error output.
    said: Arc<Mutex<VecDeque<u8>>>,
    listener: JoinHandle<()>,
}

impl Program {
    fn start(words: &[String]) -> Result<Self, String> {
        let (first, rest) = words.split_first().ok_or("is an empty command")?;
        let mut command = Command::new(first);
        command
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // Ctrl-C is meant for us: the program still answers the current question, and we end it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot be started: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let served = match pipes {
            (Some(input), Some(output), Some(errors)) => serve(input, output, errors),
            _ => Err(io::Error::other("a pipe is missing")),
        };
        match served {
            Ok((requests, lines, said, listener)) => Ok(Self {
                child,
                requests,
                lines,
                said,
                listener,
            }),
            Err(error) => {
                end(&mut child);
                Err(format!("cannot be served: {error}"))
            }
        }
    }

    fn ask(&mut self, request: &str, timeout: Duration) -> Line {
        if let Ok(line) = self.lines.try_recv() {
            return Err(match line {
                Ok(line) => format!(
                    "wrote an unexpected line: {:?}",
                    legible::name(&String::from_utf8_lossy(&line))
                ),
                Err(ended) => self.ended(&ended),
            });
        }
        // If the writer is gone, so is the program, and the reader reports that.
        let _ = self.requests.send(request.to_owned());
        match self.lines.recv_timeout(timeout) {
            Ok(Ok(line)) => Ok(line),
            Ok(Err(ended)) => Err(self.ended(&ended)),
            Err(RecvTimeoutError::Timeout) => Err("did not answer in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended("ended")),
        }
    }

    /// Adds how the program ended, and its last output.
    fn ended(&mut self, how: &str) -> String {
        let patience = Instant::now();
        let mut status = None;
        while patience.elapsed() < LAST_WORDS && (status.is_none() || !self.listener.is_finished())
        {
            status = self.child.try_wait().ok().flatten();
            thread::sleep(Duration::from_millis(5));
        }
        let mut told = how.to_owned();
        if let Some(status) = status {
            told += &format!(" ({status})");
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(said.make_contiguous());
        if !said.trim().is_empty() {
            told += &format!("; its error output ends with {:?}", said.trim());
        }
        told
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

type Served = (
    Sender<String>,
    Receiver<Line>,
    Arc<Mutex<VecDeque<u8>>>,
    JoinHandle<()>,
);

/// Starts threads that end with the program, or when its owner is dropped.
fn serve(mut input: ChildStdin, output: ChildStdout, errors: ChildStderr) -> io::Result<Served> {
    let (requests, asked) = channel::<String>();
    thread::Builder::new().spawn(move || {
        for mut request in asked {
            request.push('\n');
            let written = input.write_all(request.as_bytes());
            if written.and_then(|()| input.flush()).is_err() {
                return;
            }
        }
    })?;
    // One line may wait: unexpected output takes no memory.
    let (answer, lines) = sync_channel(1);
    thread::Builder::new().spawn(move || read(output, &answer))?;
    let said = Arc::new(Mutex::new(VecDeque::new()));
    let kept = Arc::clone(&said);
    let listener = thread::Builder::new().spawn(move || listen(errors, &kept))?;
    Ok((requests, lines, said, listener))
}

/// Passes on lines of limited length.
fn read(output: ChildStdout, answer: &SyncSender<Line>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        let read = output
            .by_ref()
            .take(wire::LIMIT + 1)
            .read_until(b'\n', &mut line);
        let line = match read {
            Ok(0) => Err("ended without an answer".to_owned()),
            Ok(length) if length as u64 > wire::LIMIT => {
                Err(format!("answered with more than {} MiB", wire::LIMIT >> 20))
            }
            Ok(_) => Ok(line),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        let is_last = line.is_err();
        if answer.send(line).is_err() || is_last {
            return;
        }
    }
}

/// Keeps the end of the error output.
fn listen(mut errors: ChildStderr, said: &Mutex<VecDeque<u8>>) {
    let mut part = [0; KEPT];
    while let Ok(length @ 1..) = errors.read(&mut part) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(&part[..length]);
        let over = said.len().saturating_sub(KEPT);
        said.drain(..over);
    }
}
