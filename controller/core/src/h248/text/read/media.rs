//! Media and its parts.

use super::super::cursor::{Cursor, FEW, Read};
use super::super::token::Token;
use crate::h248::model::{
    BufferControl, Description, LocalControl, MediaDescriptor, ServiceState, Stream, StreamMode,
    TerminationState,
};

impl<'a> Cursor<'a> {
    /// Annex B `mediaDescriptor`, whose token has been read.
    pub(super) fn media(&mut self) -> Read<MediaDescriptor<'a>> {
        let construct = "mediaDescriptor";
        let mut media = MediaDescriptor {
            streams: Vec::with_capacity(FEW),
            ..MediaDescriptor::default()
        };
        // Of the parameters that stand directly in Media: the first stream.
        let mut direct = None;
        media.span = self.braced(construct, false, |c| {
            let at = c.at();
            match c.token(construct)? {
                Token::TerminationState => {
                    if media.state.is_some() {
                        return Err(c.error_at(at, construct, "TerminationState is there twice"));
                    }
                    media.state = Some(c.termination_state()?);
                }
                Token::Stream => {
                    let id = c.equal_number(construct)?;
                    let mut stream = Stream {
                        id: Some(id),
                        ..Stream::default()
                    };
                    stream.span = c.braced("streamDescriptor", true, |c| {
                        let at = c.at();
                        let token = c.token("streamDescriptor")?;
                        c.stream_parameter(token, at, &mut stream)
                    })?;
                    media.streams.push(stream);
                }
                token => {
                    let index = *direct.get_or_insert_with(|| {
                        media.streams.push(Stream::default());
                        media.streams.len() - 1
                    });
                    if let Some(stream) = media.streams.get_mut(index) {
                        c.stream_parameter(token, at, stream)?;
                    }
                }
            }
            Ok(())
        })?;
        if let Some(stream) = direct.and_then(|index| media.streams.get_mut(index)) {
            stream.span = media.span;
        }
        Ok(media)
    }

    /// Annex B `streamParm`, whose token has been read.
    fn stream_parameter(&mut self, token: Token, at: usize, stream: &mut Stream<'a>) -> Read<()> {
        let construct = "streamParm";
        let twice = match token {
            Token::LocalControl => {
                let control = self.local_control()?;
                stream.control.replace(control).is_some()
            }
            Token::Local => {
                let local = self.description("localDescriptor")?;
                stream.local.replace(local).is_some()
            }
            Token::Remote => {
                let remote = self.description("remoteDescriptor")?;
                stream.remote.replace(remote).is_some()
            }
            Token::Statistics => {
                let statistics = self.statistics()?;
                stream.statistics.replace(statistics).is_some()
            }
            _ => return Err(self.error_at(at, construct, "not a stream parameter")),
        };
        if twice {
            return Err(self.error_at(at, construct, "it is there twice"));
        }
        Ok(())
    }

    fn description(&mut self, construct: &'static str) -> Read<Description<'a>> {
        self.skip();
        if self.peek() != Some(b'{') {
            return Err(self.error(construct, "{ is missing"));
        }
        // Not `take`: white space and `;` within are the description's.
        self.until(b"{", construct, "{ is missing")?;
        let (octets, span) = self.octet_string(construct)?;
        Ok(Description {
            octets,
            properties: Vec::new(),
            span,
        })
    }

    fn local_control(&mut self) -> Read<LocalControl<'a>> {
        let construct = "localControlDescriptor";
        let mut control = LocalControl::default();
        control.span = self.braced(construct, true, |c| {
            let at = c.at();
            let name = c.name(construct)?;
            match Token::of(name.as_bytes()) {
                Some(Token::Mode) => {
                    control.mode = Some(match c.equal_token("streamMode")? {
                        Token::SendOnly => StreamMode::SendOnly,
                        Token::ReceiveOnly => StreamMode::ReceiveOnly,
                        Token::SendReceive => StreamMode::SendReceive,
                        Token::Inactive => StreamMode::Inactive,
                        Token::Loopback => StreamMode::Loopback,
                        _ => return Err(c.error_at(at, "streamMode", "unknown mode")),
                    });
                }
                Some(Token::ReservedGroup) => control.reserve_group = Some(c.on_or_off(construct)?),
                Some(Token::ReservedValue) => control.reserve_value = Some(c.on_or_off(construct)?),
                _ => {
                    let property = c.property(name, at, construct)?;
                    control.properties.push(property);
                }
            }
            Ok(())
        })?;
        Ok(control)
    }

    fn termination_state(&mut self) -> Read<TerminationState<'a>> {
        let construct = "terminationStateDescriptor";
        let mut state = TerminationState::default();
        self.braced(construct, true, |c| {
            let at = c.at();
            let name = c.name(construct)?;
            match Token::of(name.as_bytes()) {
                Some(Token::ServiceStates) => {
                    state.service_state = Some(match c.equal_token("serviceStates")? {
                        Token::Test => ServiceState::Test,
                        Token::OutOfService => ServiceState::OutOfService,
                        Token::InService => ServiceState::InService,
                        _ => return Err(c.error_at(at, "serviceStates", "unknown state")),
                    });
                }
                Some(Token::Buffer) => {
                    state.buffer = Some(match c.equal_token("eventBufferControl")? {
                        Token::Off => BufferControl::Off,
                        Token::LockStep => BufferControl::LockStep,
                        _ => return Err(c.error_at(at, "eventBufferControl", "unknown control")),
                    });
                }
                _ => {
                    let property = c.property(name, at, construct)?;
                    state.properties.push(property);
                }
            }
            Ok(())
        })?;
        Ok(state)
    }
}
