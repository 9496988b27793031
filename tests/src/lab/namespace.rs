//! One network namespace: made, entered, deleted.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

/// A named network namespace, as `ip netns` knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The namespace of this name, whether it exists or not.
    pub fn named(name: String) -> Self {
        Self { name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its handle is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Makes it, with its loopback up.
    pub fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.name]))?;
        self.ip("link set lo up")?;
        Ok(())
    }

    /// Kills every process in it and deletes it. Nothing is said if it is not there.
    pub fn delete(&self) {
        if !self.exists() {
            return;
        }
        for pid in self.processes() {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .stderr(Stdio::null())
            .status();
    }

    /// The processes in it.
    pub fn processes(&self) -> Vec<nix::unistd::Pid> {
        let Ok(output) = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output()
        else {
            return Vec::new();
        };
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .map(nix::unistd::Pid::from_raw)
            .collect()
    }

    /// A command to run in it. It gets SIGKILL when the thread that started it
    /// ends, so that nothing outlives a test.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // nsenter, not `ip netns exec`: the latter hides /sys/fs/bpf.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net={}", self.path().display()))
            .arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command in it to its end; its output, or an error with what it said.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        run(self.command(words[0]).args(&words[1..]))
    }

    /// Runs `ip` with these words.
    pub fn ip(&self, words: &str) -> Result<String> {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(words.split_whitespace()))
    }

    /// Runs many `ip` commands, one a line, in one go.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting ip")?;
        child
            .stdin
            .take()
            .context("ip has no input")?
            .write_all(lines.as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "ip -n {} -batch: {}in:\n{lines}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Sets kernel parameters under `/proc/sys/net` (`ipv4/ip_forward`, `1`).
    pub fn sysctl(&self, values: &[(&str, &str)]) -> Result<()> {
        let values: Vec<(String, String)> = values
            .iter()
            .map(|(key, value)| (format!("/proc/sys/net/{key}"), (*value).to_owned()))
            .collect();
        self.enter(move || {
            for (path, value) in &values {
                std::fs::write(path, value).with_context(|| format!("writing {path}"))?;
            }
            Ok(())
        })?
    }

    /// Runs `work` on a thread that is in this namespace. Sockets it opens stay
    /// in the namespace wherever they are used.
    pub fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let path = self.path();
        let handle = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        std::thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || -> Result<T> {
                setns(&handle, CloneFlags::CLONE_NEWNET).context("entering a namespace")?;
                Ok(work())
            })
            .context("starting a thread")?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Runs a command to its end; its output, or an error with what it said.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?}: {}{}",
            command,
            String::from_utf8_lossy(&output.stderr),
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
