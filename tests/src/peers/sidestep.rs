//! The daemon under test, on the hypervisor host of a lab, and its command line.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Process, own_program};
use crate::lab::{Lab, Site};
use crate::wait::{seconds, try_wait_for, wait_for};

/// `sidestep run`, running.
#[derive(Debug)]
pub struct Sidestep {
    process: Process,
    program: PathBuf,
    config: PathBuf,
    started: u32,
}

impl Sidestep {
    /// Starts it with `config/lab.yaml` as this lab needs it.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, &[], |_| {})
    }

    /// Starts it with further options of `run`, and the configuration changed.
    pub fn start_with(
        lab: &Lab,
        options: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<Self> {
        let config = write_config(lab, change)?;
        Self::start_under(lab, &[], config, options)
    }

    /// Starts it by another program, which is given its command line: one that
    /// takes privileges away.
    pub fn start_by(lab: &Lab, wrapper: &[&str]) -> Result<Self> {
        let config = write_config(lab, |_| {})?;
        Self::start_under(lab, wrapper, config, &[])
    }

    fn start_under(lab: &Lab, wrapper: &[&str], config: PathBuf, options: &[&str]) -> Result<Self> {
        let program = own_program("SIDESTEP_BIN", "sidestep")?;
        // Only a restarted one has a past.
        let _ = std::fs::remove_file(lab.directory().join("journal"));
        let process = spawn(lab, wrapper, &program, &config, options, 0)?;
        let mut sidestep = Self {
            process,
            program,
            config,
            started: 0,
        };
        sidestep.wait_until_ready(lab)?;
        Ok(sidestep)
    }

    /// Starts it again after its end, with the same configuration.
    pub fn restart(&mut self, lab: &Lab, options: &[&str]) -> Result<()> {
        self.started += 1;
        self.process = spawn(lab, &[], &self.program, &self.config, options, self.started)?;
        self.wait_until_ready(lab)
    }

    fn wait_until_ready(&mut self, lab: &Lab) -> Result<()> {
        try_wait_for("sidestep to serve", seconds(15), || {
            if let Some(status) = self.process.ended() {
                bail!("sidestep ended ({status}):\n{}", self.process.log());
            }
            Ok(self.query(lab, "status").ok().map(drop))
        })
    }

    /// The rows of `sidestep WHAT --json`.
    pub fn query(&self, lab: &Lab, what: &str) -> Result<Vec<Value>> {
        let text = self.show(lab, &[what, "--json"])?;
        let rows: Value = serde_json::from_str(&text)
            .with_context(|| format!("`sidestep {what} --json` printed {text:?}"))?;
        match rows {
            Value::Array(rows) => Ok(rows),
            other => bail!("`sidestep {what} --json` printed no array: {other}"),
        }
    }

    /// A command of `sidestep`, to be run.
    pub fn command(&self, lab: &Lab, words: &[&str]) -> Command {
        let mut command = lab.command(Site::Hv, &self.program);
        command.args(words).arg("--config").arg(&self.config);
        command
    }

    /// What a command of `sidestep` prints.
    pub fn show(&self, lab: &Lab, words: &[&str]) -> Result<String> {
        let output = self.command(lab, words).output()?;
        if !output.status.success() {
            bail!(
                "sidestep {words:?}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until one row of a list is as wanted; that row.
    pub fn wait_for_row(
        &self,
        lab: &Lab,
        list: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Vec::new();
        wait_for(what, limit, || {
            last = self.query(lab, list).ok()?;
            last.iter().find(|row| wanted(row)).cloned()
        })
        .with_context(|| format!("sidestep {list}: {}", Value::Array(last.clone())))
    }

    /// Waits until this user's thin client is registered.
    pub fn wait_registered(&self, lab: &Lab, user: &str) -> Result<Value> {
        let what = format!("{user} to be registered");
        self.wait_for_row(lab, "clients", &what, seconds(10), |row| {
            row["name"] == user
        })
    }

    /// Waits until the newest call is up on this path.
    pub fn wait_call(&self, lab: &Lab, path: &str) -> Result<Value> {
        let what = format!("a call that is up on path {path}");
        self.wait_for_row(lab, "calls", &what, seconds(10), |row| {
            row["state"] == "up" && row["path"] == path
        })
    }

    /// One of its counters.
    pub fn counter(&self, lab: &Lab, name: &str) -> Result<u64> {
        let rows = self.query(lab, "counters")?;
        rows.iter()
            .find(|row| row["name"] == name)
            .and_then(|row| row["value"].as_u64())
            .with_context(|| format!("no counter {name}: {rows:?}"))
    }

    /// Waits until its program is on an interface: the one that has this index
    /// now, not one of the same name before.
    pub fn wait_attached(&self, lab: &Lab, interface: &str) -> Result<()> {
        let link = lab.ip(Site::Hv, &format!("-o link show {interface}"))?;
        let index: u64 = link
            .split(':')
            .next()
            .and_then(|number| number.trim().parse().ok())
            .with_context(|| format!("no index in {link:?}"))?;
        let what = format!("the program on {interface}");
        wait_for(&what, seconds(10), || {
            let status = self.query(lab, "status").ok()?;
            let interfaces = status.first()?["interfaces"].as_array()?.clone();
            interfaces
                .iter()
                .any(|i| i["name"] == interface && i["ifindex"] == index && !i["mode"].is_null())
                .then_some(())
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGTERM; the status it ends with.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.terminate(seconds(15))
    }
}

fn spawn(
    lab: &Lab,
    wrapper: &[&str],
    program: &Path,
    config: &Path,
    options: &[&str],
    count: u32,
) -> Result<Process> {
    let mut command = match wrapper {
        [] => lab.command(Site::Hv, program),
        [first, further @ ..] => {
            let mut command = lab.command(Site::Hv, first);
            command.args(further).arg(program);
            command
        }
    };
    command
        .env("NO_COLOR", "1")
        .args(["run", "--config"])
        .arg(config)
        .args(options);
    Process::start(&format!("sidestep-{count}"), lab.directory(), &mut command)
}

/// `config/lab.yaml` with this lab's own names, written into its directory.
fn write_config(lab: &Lab, change: impl FnOnce(&mut Value)) -> Result<PathBuf> {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/lab.yaml");
    let text = std::fs::read_to_string(&original)
        .with_context(|| format!("reading {}", original.display()))?;
    let mut config: Value = serde_yaml::from_str(&text)?;
    let daemon = &mut config["daemon"];
    daemon["socket"] = lab
        .directory()
        .join("sidestep.sock")
        .display()
        .to_string()
        .into();
    daemon["journal"] = lab.directory().join("journal").display().to_string().into();
    daemon["pins"] = lab.pins().display().to_string().into();
    daemon["namespace"] = lab.door_namespace().name().into();
    change(&mut config);
    let file = lab.directory().join("sidestep.yaml");
    std::fs::write(&file, serde_yaml::to_string(&config)?)?;
    // It holds passwords.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    Ok(file)
}
