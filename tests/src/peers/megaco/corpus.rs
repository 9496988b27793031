//! Erlang/OTP's megaco as an encoder, a decoder and a judge of both
//! (`erlang/corpus.escript`). The messages are ours.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sidestep_core::h248::{self, Encoding};

/// A message that Erlang wrote.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name in `erlang/corpus.txt`.
    pub name: String,
    /// Version of the protocol.
    pub version: u8,
    /// How it is written.
    pub encoding: Encoding,
    /// The message.
    pub bytes: Vec<u8>,
    /// ns that Erlang takes to decode it, where it was asked to: of text with its
    /// scanner in Erlang and with the one in C; of BER one number. 0: it cannot.
    pub erlang_ns: Vec<u64>,
}

impl Written {
    /// What it says.
    pub fn parse(&self) -> Result<h248::model::Message<'_>> {
        h248::parse(&self.bytes).with_context(|| self.to_string())
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            version,
            encoding,
            ..
        } = self;
        write!(f, "{name}, version {version}, {encoding:?}")
    }
}

fn escript(arguments: &[&str]) -> Command {
    let mut command = Command::new("escript");
    command.arg("corpus.escript").args(arguments);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/erlang"));
    command
}

/// Every message in every encoding that Erlang has for it.
pub fn corpus() -> Result<Vec<Written>> {
    read(escript(&["encode", "corpus.txt"]))
}

/// The same, with the time that Erlang takes to decode each, measured this long.
pub fn timed_corpus(each: Duration) -> Result<Vec<Written>> {
    read(escript(&[
        "time",
        "corpus.txt",
        &each.as_millis().to_string(),
    ]))
}

fn read(mut command: Command) -> Result<Vec<Written>> {
    let output = command.output().context("starting escript")?;
    ensure!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout)?;
    let mut all = Vec::new();
    for line in lines.lines() {
        let mut fields = line.split(' ');
        let mut next = || fields.next().with_context(|| line.to_owned());
        let (name, version, encoding, hex) = (next()?, next()?, next()?, next()?);
        if hex == "-" {
            ensure!(line.ends_with("- \"not in Annex A\""), "{line}");
            continue;
        }
        let encoding = match encoding {
            "pretty" => Encoding::Pretty,
            "compact" => Encoding::Compact,
            "ber" => Encoding::Binary,
            _ => bail!("{line}"),
        };
        all.push(Written {
            name: name.to_owned(),
            version: version.parse()?,
            encoding,
            bytes: octets(hex)?,
            erlang_ns: fields.map(str::parse).collect::<Result<_, _>>()?,
        });
    }
    Ok(all)
}

fn octets(hex: &str) -> Result<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs
        .map(|pair| Ok(u8::from_str_radix(pair?, 16)?))
        .collect()
}

/// Octets in hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What Erlang says of each pair of BER messages of a version: `same`, `different`,
/// `unreadable`.
pub fn compared(pairs: &[(u8, &[u8], &[u8])]) -> Result<Vec<String>> {
    let mut child = escript(&["compare"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting escript")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let lines: String = pairs
        .iter()
        .map(|(version, one, other)| format!("{version} {} {}\n", hex(one), hex(other)))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("writing to escript")??;
    let answers = String::from_utf8(output.stdout)?;
    Ok(answers.lines().map(str::to_owned).collect())
}
