//! Can this host run Sidestep, and this configuration?
//!
//! In: the host as `/proc`, `/sys` and `ip` show it, and a configuration if there
//! is one. Out: [`Finding`]s, each ok, warn or fail with what to do. Nothing is
//! changed.

mod addresses;
mod bridge;
mod host;
mod interfaces;
mod kernel;
mod privileges;
mod state;

use serde::Serialize;

use crate::config::Config;
use host::Host;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// Sidestep runs, but something may not go as wanted.
    Warn,
    /// Sidestep cannot do its work like this.
    Fail,
}

/// One line of the report; also a row of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `kernel`, `privileges`, `interfaces`, `addresses`,
    /// `state`.
    pub area: &'static str,
    /// What exactly: an interface, a sysctl, a feature.
    pub subject: String,
    /// How it is.
    pub result: Outcome,
    /// What was found.
    pub found: String,
    /// What to do; `null` where nothing is.
    pub todo: Option<String>,
}

/// All findings so far.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn area(&mut self, name: &'static str) -> Area<'_> {
        Area {
            name,
            findings: &mut self.findings,
        }
    }
}

/// Findings of one area, as they are made.
struct Area<'a> {
    name: &'static str,
    findings: &'a mut Vec<Finding>,
}

impl Area<'_> {
    fn ok(&mut self, subject: &str, found: impl Into<String>) {
        self.add(subject, Outcome::Ok, found.into(), None);
    }

    fn warn(&mut self, subject: &str, found: impl Into<String>, todo: impl Into<String>) {
        self.add(subject, Outcome::Warn, found.into(), Some(todo.into()));
    }

    fn fail(&mut self, subject: &str, found: impl Into<String>, todo: impl Into<String>) {
        self.add(subject, Outcome::Fail, found.into(), Some(todo.into()));
    }

    fn add(&mut self, subject: &str, result: Outcome, found: String, todo: Option<String>) {
        self.findings.push(Finding {
            area: self.name,
            subject: subject.to_owned(),
            result,
            found,
            todo,
        });
    }
}

/// Looks at this host, and with a configuration at what it names.
pub fn examine(config: Option<&Config>) -> Vec<Finding> {
    let mut report = Report::default();
    kernel::examine(&mut report.area("kernel"));
    let pins = config.map_or(crate::config::DEFAULT_PINS.as_ref(), |config| {
        config.daemon.pins.as_path()
    });
    kernel::bpf_file_system(pins, &mut report.area("kernel"));
    privileges::examine(&mut report.area("privileges"));
    match Host::look() {
        Ok(host) => {
            if let Some(config) = config {
                let area = &mut report.area("interfaces");
                interfaces::examine(config, &host, area);
                bridge::examine(config, &host, area);
                addresses::examine(config, &host, &mut report.area("addresses"));
            }
            state::examine(config, &host, &mut report.area("state"));
        }
        Err(error) => report.area("interfaces").fail(
            "ip",
            format!("`ip` does not work here: {error:#}"),
            "install iproute2 5.0 or later (Debian: apt install iproute2)",
        ),
    }
    report.findings
}
