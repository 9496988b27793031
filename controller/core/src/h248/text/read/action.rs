//! Actions: contexts and their commands.

use super::super::cursor::{Cursor, Read, SEVERAL};
use super::super::token::Token;
use crate::digits::number;
use crate::h248::model::{
    ActionReply, ActionRequest, AuditDescriptor, CommandKind, CommandReply, CommandRequest,
    ContextAudit, ContextProperties, Descriptor, TerminationId, TopologyDirection, TopologyTriple,
};

/// What `O-` and `W-` say, and the command after them.
struct Prefixed<'a> {
    optional: bool,
    wildcard_response: bool,
    word: &'a [u8],
}

fn prefixed(mut word: &[u8]) -> Prefixed<'_> {
    let mut take = |letter: u8| match word {
        [first, b'-', rest @ ..] if first.eq_ignore_ascii_case(&letter) && !rest.is_empty() => {
            word = rest;
            true
        }
        _ => false,
    };
    let optional = take(b'O');
    let wildcard_response = take(b'W');
    Prefixed {
        optional,
        wildcard_response,
        word,
    }
}

fn command_kind(token: Token) -> Option<CommandKind> {
    Some(match token {
        Token::Add => CommandKind::Add,
        Token::Modify => CommandKind::Modify,
        Token::Subtract => CommandKind::Subtract,
        Token::Move => CommandKind::Move,
        Token::AuditValue => CommandKind::AuditValue,
        Token::AuditCapability => CommandKind::AuditCapabilities,
        Token::Notify => CommandKind::Notify,
        Token::ServiceChange => CommandKind::ServiceChange,
        _ => return None,
    })
}

impl<'a> Cursor<'a> {
    /// Annex B `actionRequest`.
    pub(super) fn action_request(&mut self) -> Read<ActionRequest<'a>> {
        let construct = "actionRequest";
        let at = self.at();
        if self.token(construct)? != Token::Context {
            return Err(self.error_at(at, construct, "Context is missing"));
        }
        self.equal(construct)?;
        let (context, context_span) = self.context_id()?;
        let mut action = ActionRequest {
            context,
            properties: ContextProperties::default(),
            audit: None,
            commands: Vec::with_capacity(SEVERAL),
            context_span,
        };
        self.braced(construct, false, |c| {
            let start = c.at();
            let words = prefixed(c.word(construct)?);
            let token = Token::of(words.word)
                .ok_or_else(|| c.error_at(start, construct, "unknown token"))?;
            if let Some(kind) = command_kind(token) {
                let command = c.command_request(start, &words, kind)?;
                action.commands.push(command);
                return Ok(());
            }
            if token == Token::ContextAudit {
                action.audit = Some(ContextAudit {
                    items: c.selections(construct)?,
                });
                return Ok(());
            }
            c.context_property(token, start, &mut action.properties)
        })?;
        Ok(action)
    }

    fn command_request(
        &mut self,
        start: usize,
        words: &Prefixed<'_>,
        kind: CommandKind,
    ) -> Read<CommandRequest<'a>> {
        let construct = "commandRequest";
        let terminations = self.termination_ids()?;
        let mut end = self.at();
        let mut descriptors = Vec::new();
        self.skip();
        if self.peek() == Some(b'{') {
            descriptors = Vec::with_capacity(SEVERAL);
            // An audit without its descriptor, as `AuditValue=*{}`, is accepted.
            self.braced(construct, true, |c| {
                descriptors.push(c.descriptor(construct)?);
                Ok(())
            })?;
            end = self.at();
        }
        let mut span = self.since(start);
        span.end = end;
        Ok(CommandRequest {
            optional: words.optional,
            wildcard_response: words.wildcard_response,
            kind,
            terminations,
            descriptors,
            span,
        })
    }

    /// Annex B `contextProperty`, whose token has been read.
    fn context_property(
        &mut self,
        token: Token,
        at: usize,
        properties: &mut ContextProperties<'a>,
    ) -> Read<()> {
        let construct = "contextProperty";
        match token {
            Token::Topology => self.topology(properties)?,
            Token::Priority => properties.priority = Some(self.equal_number(construct)?),
            Token::Emergency => properties.emergency = Some(true),
            Token::EmergencyOff => properties.emergency = Some(false),
            Token::EmergencyValue => {
                properties.emergency = Some(match self.equal_token(construct)? {
                    Token::Emergency => true,
                    Token::EmergencyOff => false,
                    _ => return Err(self.error(construct, "neither on nor off")),
                });
            }
            Token::IepsCall => properties.ieps = Some(self.on_or_off(construct)?),
            Token::ContextAttr => {
                self.braced(construct, false, |c| c.context_attribute(properties))?;
            }
            Token::ContextList => self.context_list(properties)?,
            _ => {
                return Err(self.error_at(at, construct, "neither a command nor a property"));
            }
        }
        Ok(())
    }

    fn context_attribute(&mut self, properties: &mut ContextProperties<'a>) -> Read<()> {
        let construct = "contextAttrDescriptor";
        let at = self.at();
        let name = self.name(construct)?;
        match Token::of(name.as_bytes()) {
            Some(Token::ContextList) => self.context_list(properties),
            Some(token @ (Token::Priority | Token::Emergency | Token::IepsCall)) => {
                self.context_property(token, at, properties)
            }
            _ => {
                let property = self.property(name, at, construct)?;
                properties.attributes.push(property);
                Ok(())
            }
        }
    }

    fn context_list(&mut self, properties: &mut ContextProperties<'a>) -> Read<()> {
        let construct = "contextIDList";
        self.equal(construct)?;
        self.braced(construct, false, |c| {
            let (context, _) = c.context_id()?;
            properties.contexts.push(context);
            Ok(())
        })?;
        Ok(())
    }

    /// `= ON` or `= OFF`.
    pub(super) fn on_or_off(&mut self, construct: &'static str) -> Read<bool> {
        match self.equal_token(construct)? {
            Token::On => Ok(true),
            Token::Off => Ok(false),
            _ => Err(self.error(construct, "neither ON nor OFF")),
        }
    }

    /// Annex B `topologyDescriptor`: its triples follow one another without
    /// brackets of their own.
    fn topology(&mut self, properties: &mut ContextProperties<'a>) -> Read<()> {
        let construct = "topologyDescriptor";
        let mut ends = Vec::new();
        self.braced(construct, false, |c| {
            let at = c.at();
            let id = c.termination_id()?;
            let token = token_of(&id);
            if let [from, to] = ends.as_slice() {
                let direction = match token {
                    Some(Token::Bothway) => TopologyDirection::Bothway,
                    Some(Token::Isolate) => TopologyDirection::Isolate,
                    Some(Token::Oneway) => TopologyDirection::Oneway,
                    Some(Token::OnewayExternal) => TopologyDirection::OnewayExternal,
                    Some(Token::OnewayBoth) => TopologyDirection::OnewayBoth,
                    _ => return Err(c.error_at(at, construct, "unknown direction")),
                };
                properties.topology.push(TopologyTriple {
                    from: Clone::clone(from),
                    to: Clone::clone(to),
                    direction,
                    stream: None,
                });
                ends.clear();
            } else if token == Some(Token::Stream) && c.has_value() {
                let stream = c.equal_number(construct)?;
                match properties.topology.last_mut() {
                    Some(last) if ends.is_empty() => last.stream = Some(stream),
                    _ => return Err(c.error_at(at, construct, "a stream of no triple")),
                }
            } else {
                ends.push(id);
            }
            Ok(())
        })?;
        // Erlang/OTP writes the stream of version 3 as its number alone.
        if let [TerminationId::Path(path)] = ends.as_slice()
            && let Some(last) = properties.topology.last_mut()
            && last.stream.is_none()
            && let Some(stream) = number(path.as_bytes())
        {
            last.stream = Some(stream);
            ends.clear();
        }
        if ends.is_empty() {
            Ok(())
        } else {
            Err(self.error(construct, "a triple is not complete"))
        }
    }

    /// Annex B `actionReply`, whose token has been read.
    pub(super) fn action_reply(&mut self) -> Read<ActionReply<'a>> {
        let construct = "actionReply";
        self.equal(construct)?;
        let (context, context_span) = self.context_id()?;
        let mut action = ActionReply {
            context,
            error: None,
            properties: ContextProperties::default(),
            commands: Vec::with_capacity(SEVERAL),
            context_span,
        };
        self.skip();
        if self.peek() != Some(b'{') {
            return Ok(action);
        }
        self.braced(construct, true, |c| {
            let start = c.at();
            let token = c.token(construct)?;
            if let Some(kind) = command_kind(token) {
                let command = c.command_reply(start, kind)?;
                action.commands.push(command);
                return Ok(());
            }
            if token == Token::Error {
                action.error = Some(c.error_parts()?);
                return Ok(());
            }
            c.context_property(token, start, &mut action.properties)
        })?;
        Ok(action)
    }

    fn command_reply(&mut self, start: usize, kind: CommandKind) -> Read<CommandReply<'a>> {
        let construct = "commandReply";
        let mut terminations = self.termination_ids()?;
        let of_context = matches!(
            kind,
            CommandKind::AuditValue | CommandKind::AuditCapabilities
        ) && terminations.len() == 1
            && terminations
                .first()
                .is_some_and(|id| token_of(id) == Some(Token::Context));
        let mut end = self.at();
        let mut descriptors = Vec::new();
        self.skip();
        if of_context && self.peek() == Some(b'{') {
            terminations.clear();
            self.braced(construct, false, |c| {
                let id = c.termination_id()?;
                if token_of(&id) == Some(Token::Error) && c.has_value() {
                    descriptors.push(Descriptor::Error(c.error_parts()?));
                } else {
                    terminations.push(id);
                }
                Ok(())
            })?;
            end = self.at();
        } else if self.peek() == Some(b'{') {
            descriptors = Vec::with_capacity(SEVERAL);
            self.braced(construct, true, |c| {
                descriptors.push(c.descriptor(construct)?);
                Ok(())
            })?;
            end = self.at();
        }
        let mut span = self.since(start);
        span.end = end;
        Ok(CommandReply {
            kind,
            terminations,
            of_context,
            descriptors,
            span,
        })
    }

    /// `{ items }`, as of an audit.
    pub(super) fn audit_parts(&mut self, construct: &'static str) -> Read<AuditDescriptor<'a>> {
        let mut items = Vec::with_capacity(SEVERAL);
        self.braced(construct, true, |c| {
            items.push(c.audit_item()?);
            Ok(())
        })?;
        Ok(AuditDescriptor { items })
    }
}

/// The token that a word is which was read as a termination's name.
fn token_of(id: &TerminationId<'_>) -> Option<Token> {
    match id {
        TerminationId::Path(word) => Token::of(word.as_bytes()),
        _ => None,
    }
}
