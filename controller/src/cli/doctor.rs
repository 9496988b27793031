//! `sidestep doctor`.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use super::args::DoctorArgs;
use super::config_check;
use super::list::json_array;
use crate::admin::client::{self, Row};
use crate::doctor::{self, Finding, Outcome};

/// Looks, prints, and says by the exit code whether anything is fail.
pub fn run(args: &DoctorArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let config = match &args.config {
        Some(file) => match config_check::load(file) {
            Ok(config) => Some(config),
            Err(code) => return Ok(code),
        },
        None => None,
    };
    let findings = doctor::examine(config.as_ref());
    if args.json {
        let rows: Vec<Row> =
            client::objects(serde_json::to_value(&findings)?).map_err(anyhow::Error::msg)?;
        out.write_all(json_array(&rows).as_bytes())?;
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        out.write_all(text(&findings, colour).as_bytes())?;
        if config.is_none() {
            writeln!(
                out,
                "\nInterfaces and addresses: sidestep doctor --config FILE"
            )?;
        }
    }
    let worst = findings.iter().map(|finding| finding.result).max();
    Ok(match worst {
        Some(Outcome::Fail) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn text(findings: &[Finding], colour: bool) -> String {
    let width = findings.iter().map(|f| f.subject.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    let mut area = "";
    for finding in findings {
        if finding.area != area {
            if !area.is_empty() {
                text.push('\n');
            }
            area = finding.area;
            text += &format!("{area}\n");
        }
        let (word, code) = match finding.result {
            Outcome::Ok => ("ok  ", "32"),
            Outcome::Warn => ("warn", "33"),
            Outcome::Fail => ("fail", "1;31"),
        };
        let word = if colour {
            format!("\x1b[{code}m{word}\x1b[0m")
        } else {
            word.to_owned()
        };
        text += &format!("  {word}  {:<width$}  {}\n", finding.subject, finding.found);
        if let Some(todo) = &finding.todo {
            text += &format!("  {:4}  {:<width$}  → {todo}\n", "", "");
        }
    }
    let count = |result| findings.iter().filter(|f| f.result == result).count();
    text += &format!(
        "\n{} ok, {} warn, {} fail\n",
        count(Outcome::Ok),
        count(Outcome::Warn),
        count(Outcome::Fail)
    );
    text
}
