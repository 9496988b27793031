//! Digest authentication (RFC 7616, for SIP: RFC 3261 §22 and RFC 8760), both
//! sides: the registrar's challenge and check, a client's answer.
//!
//! Algorithms: SHA-256 and MD5. Quality of protection: `auth`, or none as of
//! RFC 2617's compatibility with RFC 2069.

use std::fmt;

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// What can be wrong with a challenge or with credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The scheme is not `Digest`.
    #[error("authentication scheme is not Digest")]
    NotDigest,
    /// A parameter is not `name=value`.
    #[error("malformed parameter at byte {offset}")]
    Malformed {
        /// Where, from the begin of the header's value.
        offset: usize,
    },
    /// A parameter that must be there is not.
    #[error("no {0} parameter")]
    Missing(&'static str),
    /// No challenge has an algorithm and a quality of protection known here.
    #[error("no challenge with a supported algorithm and qop")]
    Unsupported,
}

/// Digest algorithm. Its order of preference is the challenger's (RFC 8760 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// MD5; also what no `algorithm` parameter means.
    Md5,
}

impl Algorithm {
    /// Its name in the `algorithm` parameter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Md5 => "MD5",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Md5]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// Lower-case hexadecimal digest of the parts, joined by colons.
    fn hash(self, parts: &[&[u8]]) -> String {
        let joined = parts.join(&b':');
        match self {
            Self::Sha256 => hex(&Sha256::digest(&joined)),
            Self::Md5 => hex(&Md5::digest(&joined)),
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Compares without telling by its time where the difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// A challenge: the value of a WWW-Authenticate or Proxy-Authenticate header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Realm.
    pub realm: String,
    /// Nonce.
    pub nonce: String,
    /// Opaque, returned as it came.
    pub opaque: Option<String>,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Whether `qop` offers `auth`. False: it has no `qop` at all.
    pub qop_auth: bool,
    /// The credentials were right but for their nonce.
    pub stale: bool,
}

impl Challenge {
    /// Reads a header's value.
    ///
    /// # Errors
    /// [`DigestError::Unsupported`] where algorithm or qop are not known here.
    pub fn parse(value: &[u8]) -> Result<Self, DigestError> {
        let parameters = Parameters::parse(value)?;
        let algorithm = match parameters.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_name(name).ok_or(DigestError::Unsupported)?,
        };
        let qop_auth = match parameters.get("qop") {
            None => false,
            Some(list)
                if list
                    .split(',')
                    .any(|qop| qop.trim().eq_ignore_ascii_case("auth")) =>
            {
                true
            }
            Some(_) => return Err(DigestError::Unsupported),
        };
        Ok(Self {
            realm: parameters.required("realm")?,
            nonce: parameters.required("nonce")?,
            opaque: parameters.get("opaque").map(str::to_owned),
            algorithm,
            qop_auth,
            stale: parameters
                .get("stale")
                .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest realm={}, nonce={}, algorithm={}",
            Quoted(&self.realm),
            Quoted(&self.nonce),
            self.algorithm.name()
        )?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if self.qop_auth {
            f.write_str(", qop=\"auth\"")?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        Ok(())
    }
}

/// Quality of protection `auth` of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QopAuth {
    /// Nonce count, eight hexadecimal digits as written.
    pub nc: String,
    /// Client nonce.
    pub cnonce: String,
}

/// Credentials: the value of an Authorization or Proxy-Authorization header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Realm.
    pub realm: String,
    /// Nonce.
    pub nonce: String,
    /// Digest URI.
    pub uri: String,
    /// The response, hexadecimal.
    pub response: String,
    /// Algorithm.
    pub algorithm: Algorithm,
    /// Opaque.
    pub opaque: Option<String>,
    /// `qop=auth` with its counter, or no qop.
    pub qop: Option<QopAuth>,
}

impl Credentials {
    /// Reads a header's value.
    ///
    /// # Errors
    /// [`DigestError::Unsupported`] where algorithm or qop are not known here.
    pub fn parse(value: &[u8]) -> Result<Self, DigestError> {
        let parameters = Parameters::parse(value)?;
        let algorithm = match parameters.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_name(name).ok_or(DigestError::Unsupported)?,
        };
        let qop = match parameters.get("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(QopAuth {
                nc: parameters.required("nc")?,
                cnonce: parameters.required("cnonce")?,
            }),
            Some(_) => return Err(DigestError::Unsupported),
        };
        Ok(Self {
            username: parameters.required("username")?,
            realm: parameters.required("realm")?,
            nonce: parameters.required("nonce")?,
            uri: parameters.required("uri")?,
            response: parameters.required("response")?,
            algorithm,
            opaque: parameters.get("opaque").map(str::to_owned),
            qop,
        })
    }

    /// Whether the response is that of this password and method (RFC 7616 §3.4.1).
    pub fn verify(&self, password: &str, method: &str) -> bool {
        same(
            self.expected(password, method).as_bytes(),
            self.response.to_ascii_lowercase().as_bytes(),
        )
    }

    /// Nonce count, where there is one: eight hexadecimal digits.
    pub fn nonce_count(&self) -> Option<u32> {
        let nc = &self.qop.as_ref()?.nc;
        (nc.len() == 8).then(|| u32::from_str_radix(nc, 16).ok())?
    }

    /// The response that `password` makes for the other fields.
    fn expected(&self, password: &str, method: &str) -> String {
        let hash = |parts: &[&[u8]]| self.algorithm.hash(parts);
        let a1 = hash(&[
            self.username.as_bytes(),
            self.realm.as_bytes(),
            password.as_bytes(),
        ]);
        let a2 = hash(&[method.as_bytes(), self.uri.as_bytes()]);
        match &self.qop {
            Some(qop) => hash(&[
                a1.as_bytes(),
                self.nonce.as_bytes(),
                qop.nc.as_bytes(),
                qop.cnonce.as_bytes(),
                b"auth",
                a2.as_bytes(),
            ]),
            None => hash(&[a1.as_bytes(), self.nonce.as_bytes(), a2.as_bytes()]),
        }
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm={}",
            Quoted(&self.username),
            Quoted(&self.realm),
            Quoted(&self.nonce),
            Quoted(&self.uri),
            self.response,
            self.algorithm.name()
        )?;
        if let Some(opaque) = &self.opaque {
            write!(f, ", opaque={}", Quoted(opaque))?;
        }
        if let Some(qop) = &self.qop {
            write!(
                f,
                ", qop=auth, nc={}, cnonce={}",
                qop.nc,
                Quoted(&qop.cnonce)
            )?;
        }
        Ok(())
    }
}

/// Who answers a challenge.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// User name.
    pub user: &'a str,
    /// Secret.
    pub password: &'a str,
}

/// Answers the first of `challenges` (the values of the WWW-Authenticate
/// headers, in their order, which is the challenger's preference: RFC 8760 §2.4)
/// whose algorithm is known. Returns the value of the Authorization header.
///
/// `cnonce` must be new each time; `nc` counts the requests sent with the same
/// nonce, from 1.
///
/// # Errors
/// [`DigestError::Unsupported`] when there is none, or what is wrong with the
/// last of them.
pub fn answer_challenge<'a>(
    challenges: impl IntoIterator<Item = &'a [u8]>,
    login: Login<'_>,
    method: &str,
    uri: &str,
    cnonce: &str,
    nc: u32,
) -> Result<String, DigestError> {
    let mut error = DigestError::Unsupported;
    for value in challenges {
        match Challenge::parse(value) {
            Ok(challenge) => {
                return Ok(challenge.answer(login, method, uri, cnonce, nc).to_string());
            }
            Err(why) => error = why,
        }
    }
    Err(error)
}

impl Challenge {
    /// The credentials that answer this challenge.
    pub fn answer(
        &self,
        login: Login<'_>,
        method: &str,
        uri: &str,
        cnonce: &str,
        nc: u32,
    ) -> Credentials {
        let mut credentials = Credentials {
            username: login.user.to_owned(),
            realm: self.realm.clone(),
            nonce: self.nonce.clone(),
            uri: uri.to_owned(),
            response: String::new(),
            algorithm: self.algorithm,
            opaque: self.opaque.clone(),
            qop: self.qop_auth.then(|| QopAuth {
                nc: format!("{nc:08x}"),
                cnonce: cnonce.to_owned(),
            }),
        };
        credentials.response = credentials.expected(login.password, method);
        credentials
    }
}

/// A quoted-string (RFC 3261 §25.1).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

/// The parameters after the scheme.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(value: &[u8]) -> Result<Self, DigestError> {
        let start = value
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())
            .ok_or(DigestError::NotDigest)?;
        let scheme = value.get(start..start + 6).ok_or(DigestError::NotDigest)?;
        let separator = value.get(start + 6).is_some_and(u8::is_ascii_whitespace);
        if !scheme.eq_ignore_ascii_case(b"Digest") || !separator {
            return Err(DigestError::NotDigest);
        }
        let mut cursor = Cursor {
            bytes: value,
            at: start + 6,
        };
        let mut parameters = Vec::new();
        loop {
            cursor.skip(|byte| byte.is_ascii_whitespace() || byte == b',');
            if cursor.peek().is_none() {
                return Ok(Self(parameters));
            }
            parameters.push(cursor.parameter()?);
        }
    }

    /// The first parameter of this name.
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &'static str) -> Result<String, DigestError> {
        self.get(name)
            .map(str::to_owned)
            .ok_or(DigestError::Missing(name))
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, class: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&class) {
            self.at += 1;
        }
    }

    fn token(&mut self) -> Result<String, DigestError> {
        let from = self.at;
        self.skip(|byte| byte.is_ascii_graphic() && !b",=\"".contains(&byte));
        if from == self.at {
            return Err(DigestError::Malformed { offset: from });
        }
        Ok(String::from_utf8_lossy(&self.bytes[from..self.at]).into_owned())
    }

    /// `name = token`, or `name = "quoted"`, with spaces anywhere between.
    fn parameter(&mut self) -> Result<(String, String), DigestError> {
        let name = self.token()?;
        self.skip(|byte| byte.is_ascii_whitespace());
        if self.peek() != Some(b'=') {
            return Err(DigestError::Malformed { offset: self.at });
        }
        self.at += 1;
        self.skip(|byte| byte.is_ascii_whitespace());
        let value = match self.peek() {
            Some(b'"') => self.quoted()?,
            _ => self.token()?,
        };
        self.skip(|byte| byte.is_ascii_whitespace());
        match self.peek() {
            None | Some(b',') => Ok((name, value)),
            Some(_) => Err(DigestError::Malformed { offset: self.at }),
        }
    }

    fn quoted(&mut self) -> Result<String, DigestError> {
        let opened = self.at;
        self.at += 1;
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return Ok(String::from_utf8_lossy(&text).into_owned()),
                b'\\' => {
                    let escaped = self
                        .peek()
                        .ok_or(DigestError::Malformed { offset: opened })?;
                    self.at += 1;
                    text.push(escaped);
                }
                _ => text.push(byte),
            }
        }
        Err(DigestError::Malformed { offset: opened })
    }
}
