//! Faults of a configuration file: where, which field, what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Config;

/// One thing wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1; 0: the file as a whole.
    pub line: usize,
    /// Column, from 1; only for faults of the YAML itself.
    pub column: Option<usize>,
    /// Path of the field, as `vms[1].address`; empty: the document.
    pub field: String,
    /// What is wrong and what to write instead.
    pub what: String,
}

impl Fault {
    /// A fault of the whole file.
    pub fn of_file(what: String) -> Self {
        Self {
            line: 0,
            column: None,
            field: String::new(),
            what,
        }
    }
}

/// All faults of a file, in the order of their lines. Displayed one a line, as
/// `file:line: field: what`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it; never empty.
    pub faults: Vec<Fault>,
}

impl ConfigErrors {
    pub(super) fn new(file: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self {
            file: file.to_owned(),
            faults,
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.faults.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", located(&self.file, fault))?;
        }
        Ok(())
    }
}

/// A fault with its file, as people and editors read it.
pub fn located(file: &Path, fault: &Fault) -> String {
    let mut text = file.display().to_string();
    if fault.line > 0 {
        text += &format!(":{}", fault.line);
    }
    if let Some(column) = fault.column {
        text += &format!(":{column}");
    }
    text += ": ";
    if !fault.field.is_empty() {
        text += &format!("{}: ", fault.field);
    }
    text + &fault.what
}

/// What reading a file has brought to light so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    errors: Vec<Fault>,
    warnings: Vec<Fault>,
}

impl Faults {
    /// Something that must be mended.
    pub fn error(&mut self, line: usize, field: &str, what: impl Into<String>) {
        self.errors.push(Fault {
            line,
            column: None,
            field: field.to_owned(),
            what: what.into(),
        });
    }

    /// The text is no YAML at this place.
    pub fn syntax(&mut self, line: usize, column: Option<usize>, what: impl Into<String>) {
        self.errors.push(Fault {
            line,
            column,
            field: String::new(),
            what: what.into(),
        });
    }

    /// Something that works, but is hardly meant.
    pub fn warning(&mut self, line: usize, field: &str, what: impl Into<String>) {
        self.warnings.push(Fault {
            line,
            column: None,
            field: field.to_owned(),
            what: what.into(),
        });
    }

    /// Whether something has been said of the whole file, of a field, or of
    /// what is below it.
    pub fn has_error_at(&self, field: &str) -> bool {
        let mut fields = self.errors.iter().map(|fault| &fault.field);
        fields.any(|at| at.is_empty() || at.starts_with(field))
    }

    /// The end: the configuration with its warnings, or the errors.
    pub fn finish(mut self, file: &Path, config: Option<Config>) -> Result<Config, ConfigErrors> {
        match config {
            Some(mut config) if self.errors.is_empty() => {
                self.warnings.sort_by_key(|fault| fault.line);
                config.file = file.to_owned();
                config.warnings = self.warnings;
                Ok(config)
            }
            _ => Err(ConfigErrors::new(file, self.errors)),
        }
    }
}
