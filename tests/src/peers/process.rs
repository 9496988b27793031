//! A child process in the lab.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{try_wait_for, wait_for};

/// A program running in a box; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to `<name>.log` in `directory`.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        Self::spawn(name, directory, command.stdin(Stdio::null()))
    }

    /// The same for a program that takes commands from its standard input.
    pub fn start_with_input(
        name: &str,
        directory: &Path,
        command: &mut Command,
    ) -> Result<(Self, ChildStdin)> {
        let mut process = Self::spawn(name, directory, command.stdin(Stdio::piped()))?;
        let input = process.child.stdin.take().context("no standard input")?;
        Ok((process, input))
    }

    fn spawn(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let child = command
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed `text`.
    pub fn wait_for_text(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{} to print {text:?}", self.name);
        try_wait_for(&what, limit, || {
            if self.log().contains(text) {
                return Ok(Some(()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended ({status}):\n{}", self.name, self.log());
            }
            Ok(None)
        })
    }

    /// Its exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait_for(&what, limit, || self.ended())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).context("process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// SIGTERM, and the status it ends with.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// SIGKILL; it has no say.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// CPU time it has used, user and system.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process, user and system, in clock ticks of 10 ms.
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name, which may contain anything.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .context("no name in stat")?
        .1
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A program of this workspace: named by the environment variable, or beside
/// the running test or binary.
pub fn own_program(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{variable} names {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .with_context(|| {
            format!(
                "no {name} beside this program, and {variable} is not set: run cargo xtask build"
            )
        })
}
