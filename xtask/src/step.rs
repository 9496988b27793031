//! Running commands so that a person sees what is going on.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A line of progress.
pub fn say(what: &str) {
    eprintln!("==> {what}");
}

/// Runs a command; its output is the person's. An exit other than 0 is an error
/// that names the command.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command quietly; its output goes into the error if it fails.
pub fn run_quietly(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{shown}` failed ({}): {}",
            output.status,
            last_lines(&stderr, 5)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Becomes the command: signals and exit status are its own.
pub fn replace_self(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{shown}`"))
}

/// Whether a program of this name is on the PATH.
pub fn on_path(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    run_quietly(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}

/// An error for those who are not root.
pub fn needs_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("{what} makes network namespaces and loads kernel programs: run it as root");
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
