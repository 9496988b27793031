//! linphone: a second stock softphone, of another family of SIP stacks.
//!
//! `linphonec` reads commands from its standard input; its audio comes from a WAV
//! file.

use std::io::Write;
use std::process::ChildStdin;

use anyhow::{Context, Result};

use super::{Process, audio};
use crate::lab::{Lab, Site};
use crate::wait::seconds;

/// A softphone, running.
#[derive(Debug)]
pub struct Linphone {
    process: Process,
    commands: ChildStdin,
}

impl Linphone {
    /// Starts it in a box at port 5060, playing a tone of `hz`.
    pub fn start(lab: &Lab, site: Site, hz: f64) -> Result<Self> {
        let home = lab.directory().join(format!("linphone-{}", site.name()));
        // It does not make the folder itself.
        std::fs::create_dir_all(home.join(".local/share/linphone"))?;
        let play = home.join("play.wav");
        audio::write_tone_wav(&play, hz, 30)?;
        let rc = include_str!("linphone.rc").replace("@ADDRESS@", &site.ip().to_string());
        let file = home.join("linphone.rc");
        std::fs::write(&file, rc)?;
        let (mut process, commands) = Process::start_with_input(
            &format!("linphone-{}", site.name()),
            lab.directory(),
            lab.command(site, "linphonec")
                .env("HOME", &home)
                .env_remove("XDG_DATA_HOME")
                .env_remove("XDG_CONFIG_HOME")
                .arg("-b")
                .arg(&file)
                .args(["-d", "6", "-l"])
                .arg(home.join("debug.log")),
        )?;
        process.wait_for_text("linphonec>", seconds(10))?;
        let mut phone = Self { process, commands };
        phone.tell("soundcard use files")?;
        phone.tell(&format!("play {}", play.display()))?;
        Ok(phone)
    }

    /// Dials a URI.
    pub fn dial(&mut self, uri: &str) -> Result<()> {
        self.tell(&format!("call {uri}"))
    }

    /// Answers the call that rings.
    pub fn accept(&mut self) -> Result<()> {
        self.tell("answer")
    }

    /// Hangs up.
    pub fn hang_up(&mut self) -> Result<()> {
        self.tell("terminate")
    }

    /// Waits until it has said `text`.
    pub fn wait_for_text(&mut self, text: &str) -> Result<()> {
        self.process.wait_for_text(text, seconds(10))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.commands, "{command}")
            .and_then(|()| self.commands.flush())
            .with_context(|| format!("telling linphonec to {command}"))
    }
}
