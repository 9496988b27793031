//! What the kernel's verifier has to do for each program, and how long each is,
//! against what `tests/data/verifier.txt` says: a change that makes a program much
//! harder to verify, or longer, is to be seen before a kernel refuses it.

use std::collections::BTreeMap;
use std::fmt::Write;

use aya::programs::Program;
use sidestep_tests::program::{Programs, isolated};

/// Above what the file says by more than this, the test fails; below, the file is
/// to be brought up to date, but nothing is wrong.
const MARGIN_PERCENT: u64 = 10;

const RECORDED: &str = include_str!("../data/verifier.txt");

/// Instructions that the verifier walked, and octets of the program as loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    verified: u64,
    octets: u64,
}

fn recorded() -> BTreeMap<String, Cost> {
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, verified, octets] = words[..] else {
                panic!("verifier.txt: {line:?} is not a name and two numbers");
            };
            let number = |text: &str| text.parse().expect("a number");
            let cost = Cost {
                verified: number(verified),
                octets: number(octets),
            };
            (name.to_owned(), cost)
        })
        .collect()
}

fn measured() -> BTreeMap<String, Cost> {
    let programs = Programs::load();
    let cost = |program: &Program| {
        let info = program.info().expect("it is loaded");
        Cost {
            verified: u64::from(info.verified_instruction_count().expect("Linux 5.16")),
            octets: u64::from(info.size_translated().expect("Linux 4.13")),
        }
    };
    programs
        .ebpf
        .programs()
        .map(|(name, program)| (name.to_owned(), cost(program)))
        .collect()
}

#[test]
fn no_program_has_become_much_harder_to_verify() {
    let measured = isolated(measured);
    let recorded = recorded();
    let mut table = String::new();
    for (name, cost) in &measured {
        let _ = writeln!(table, "{name:<12} {:>8} {:>8}", cost.verified, cost.octets);
    }
    let grown = |now: u64, before: u64| now * 100 > before * (100 + MARGIN_PERCENT);
    let worse: Vec<&str> = measured
        .iter()
        .filter(|(name, now)| match recorded.get(*name) {
            Some(before) => {
                grown(now.verified, before.verified) || grown(now.octets, before.octets)
            }
            None => true,
        })
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        worse.is_empty(),
        "{worse:?}: more than {MARGIN_PERCENT} % above tests/data/verifier.txt.\n\
         If that has to be, put this below the comments there:\n{table}"
    );
}
