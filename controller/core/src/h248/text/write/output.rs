//! Bytes, brackets and separators of either form.

use super::super::cursor::is_safe;
use super::super::token::Token;

/// The message so far.
pub(super) struct Output {
    out: Vec<u8>,
    pretty: bool,
    /// Of each open bracket: whether it has an item yet.
    open: Vec<bool>,
}

impl Output {
    pub(super) fn new(pretty: bool) -> Self {
        Self {
            out: Vec::with_capacity(512),
            pretty,
            open: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, number: u32) {
        self.text(&number.to_string());
    }

    pub(super) fn token(&mut self, token: Token) {
        self.text(if self.pretty {
            token.long()
        } else {
            token.short()
        });
    }

    /// `=`.
    pub(super) fn equal(&mut self) {
        self.text(if self.pretty { " = " } else { "=" });
    }

    /// `token = token`.
    pub(super) fn equals(&mut self, token: Token, value: Token) {
        self.token(token);
        self.equal();
        self.token(value);
    }

    /// `token = number`.
    pub(super) fn equals_number(&mut self, token: Token, number: u32) {
        self.token(token);
        self.equal();
        self.number(number);
    }

    /// `token = ON` or `token = OFF`.
    pub(super) fn equals_switch(&mut self, token: Token, on: bool) {
        self.equals(token, if on { Token::On } else { Token::Off });
    }

    /// The separator that the grammar demands.
    pub(super) fn separate(&mut self) {
        self.text(if self.pretty { "\n" } else { " " });
    }

    /// A line end where there is room for beauty.
    pub(super) fn line(&mut self) {
        // After the authentication header a separator must stand.
        self.text("\n");
    }

    /// `{`.
    pub(super) fn open(&mut self) {
        self.text(if self.pretty { " {" } else { "{" });
        self.open.push(false);
    }

    /// Before each item within a bracket.
    pub(super) fn item(&mut self) {
        let another = self
            .open
            .last_mut()
            .is_some_and(|has| std::mem::replace(has, true));
        if another {
            self.text(",");
        }
        self.indent();
    }

    /// `}`.
    pub(super) fn close(&mut self) {
        if self.open.pop() == Some(true) {
            self.indent();
        }
        self.text("}");
    }

    fn indent(&mut self) {
        if self.pretty {
            self.text("\n");
            for _ in 0..self.open.len() {
                self.text("  ");
            }
        }
    }

    /// An octet string in braces, on lines of its own: `}` is escaped.
    pub(super) fn octet_string(&mut self, octets: &[u8]) {
        self.text(if self.pretty { " {\n" } else { "{\n" });
        self.bytes(&super::super::change::escaped(octets.trim_ascii()));
        self.text("\n}");
    }

    /// Annex B `VALUE`: quoted where it has to be. A `"` cannot be written, and
    /// is left out.
    pub(super) fn value(&mut self, value: &[u8]) {
        if !value.is_empty() && value.iter().all(|&b| is_safe(b)) {
            return self.bytes(value);
        }
        self.quoted(value);
    }

    /// A quoted string.
    pub(super) fn quoted(&mut self, value: &[u8]) {
        self.text("\"");
        for &byte in value {
            if byte != b'"' {
                self.out.push(byte);
            }
        }
        self.text("\"");
    }
}
