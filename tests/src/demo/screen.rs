//! What the person sees while it works.

use std::cell::Cell;
use std::io::{IsTerminal, Write, stdout};
use std::time::Instant;

/// Standard output, plain or with colours.
#[derive(Debug)]
pub struct Screen {
    colours: bool,
}

/// A step under way; its line is finished by [`Step::done`].
#[derive(Debug)]
pub struct Step<'a> {
    screen: &'a Screen,
    text: String,
    started: Instant,
    done: Cell<bool>,
}

impl Screen {
    /// Colours where it is a terminal that wants them.
    pub fn new() -> Self {
        Self {
            colours: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// A heading.
    pub fn title(&self, text: &str) {
        println!("\n{}\n", self.bold(text));
    }

    /// A line.
    pub fn line(&self, text: &str) {
        println!("{text}");
    }

    /// Output of another program, set off.
    pub fn quote(&self, text: &str) {
        for line in text.lines() {
            println!("      {}", self.paint("2", line));
        }
    }

    /// Begins a step: shown at once where the line can be written again.
    pub fn step(&self, text: &str) -> Step<'_> {
        if self.colours {
            print!("  … {text}");
            let _ = stdout().flush();
        }
        Step {
            screen: self,
            text: text.to_owned(),
            started: Instant::now(),
            done: Cell::new(false),
        }
    }

    /// Bold, where there are colours.
    pub fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Green for what is right, red for what is not.
    pub fn verdict(&self, right: bool, text: &str) -> String {
        self.paint(if right { "32" } else { "31;1" }, text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Step<'_> {
    /// Shows how far it is, on the same line.
    pub fn progress(&self, text: &str) {
        if self.screen.colours {
            print!("\r\x1b[2K  … {}: {text}", self.text);
            let _ = stdout().flush();
        }
    }

    /// Finishes the line with what came of it.
    pub fn done(&self, result: &str) {
        self.done.set(true);
        if self.screen.colours {
            print!("\r\x1b[2K");
        }
        let took = self.started.elapsed().as_secs_f64();
        println!(
            "  {} {}: {result} ({took:.1} s)",
            self.screen.verdict(true, "✓"),
            self.text
        );
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.done.get() {
            if self.screen.colours {
                print!("\r\x1b[2K");
            }
            println!("  {} {}", self.screen.verdict(false, "✗"), self.text);
        }
    }
}
