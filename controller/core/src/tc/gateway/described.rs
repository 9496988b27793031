//! A gateway's own description, told as an offer or an answer.
//!
//! Gateways describe themselves in part: H.248.1 §7.1.8 lets `o=`, `s=` and `t=`
//! go, and the direction is the mode's affair. The call machine gets whole
//! descriptions, whose version rises when, and only when, they change.

use serde::{Deserialize, Serialize};

use crate::media::{Direction, Media};
use crate::sdp::{self, SessionDescription};

/// What a gateway said of itself, last.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Described {
    session: u64,
    version: u64,
    media: Option<Media>,
    /// As it came, where it is not one audio stream that can be understood.
    #[serde(with = "serde_bytes")]
    raw: Option<Vec<u8>>,
}

impl Described {
    /// Nothing said yet.
    pub(super) fn new(session: u32) -> Self {
        Self {
            session: session.into(),
            ..Self::default()
        }
    }

    /// Takes a description; true where its address or codecs differ from those
    /// of before.
    pub(super) fn hear(&mut self, local: Vec<u8>) -> bool {
        let media = SessionDescription::parse(&local)
            .ok()
            .and_then(|sdp| Some(sdp.audio_of_answer().ok()?.1))
            .filter(|media| !media.codecs.is_empty() && !media.is_null_address());
        let Some(mut media) = media else {
            let changed = self.raw.as_ref() != Some(&local);
            self.raw = Some(local);
            return changed;
        };
        media.direction = Direction::SendRecv;
        let changed = self.raw.take().is_some() || self.media.as_ref() != Some(&media);
        self.version += u64::from(changed);
        self.media = Some(media);
        changed
    }

    /// The description, with this direction; as it came, where it could not be
    /// understood. `None`: the gateway has not said anything.
    pub(super) fn tell(&mut self, direction: Direction) -> Option<Vec<u8>> {
        if let Some(raw) = &self.raw {
            return Some(raw.clone());
        }
        let media = self.media.as_mut()?;
        self.version += u64::from(media.direction != direction);
        media.direction = direction;
        let told = sdp::describe(media, self.session, self.version);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(described: &mut Described, direction: Direction) -> String {
        String::from_utf8(described.tell(direction).unwrap()).unwrap()
    }

    #[test]
    fn the_version_rises_with_what_is_told() {
        let local = "v=0\r\nc=IN IP4 10.71.2.21\r\nm=audio 20000 RTP/AVP 0 8\r\n";
        let mut described = Described::new(7);
        assert_eq!(described.tell(Direction::SendRecv), None);
        assert!(described.hear(local.into()));
        let first = told(&mut described, Direction::SendRecv);
        assert!(
            first.starts_with("v=0\r\no=- 7 1 IN IP4 10.71.2.21\r\n"),
            "{first}"
        );
        assert!(!described.hear(local.into()));
        assert_eq!(told(&mut described, Direction::SendRecv), first);
        assert!(described.hear(local.replace("20000", "20100").into()));
        let moved = told(&mut described, Direction::SendRecv);
        assert!(moved.contains("o=- 7 2 ") && moved.contains("m=audio 20100 RTP/AVP 0 8"));
        let held = told(&mut described, Direction::RecvOnly);
        assert!(
            held.contains("o=- 7 3 ") && held.contains("a=recvonly"),
            "{held}"
        );
    }

    #[test]
    fn what_is_not_understood_is_told_as_it_came() {
        let mut described = Described::new(7);
        assert!(described.hear(b"v=0\r\nm=image 9 udptl t38\r\n".to_vec()));
        assert_eq!(
            told(&mut described, Direction::SendRecv),
            "v=0\r\nm=image 9 udptl t38\r\n"
        );
    }
}
