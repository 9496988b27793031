//! Actions and commands.

use super::super::token::Token;
use super::output::Output;
use crate::h248::model::{
    ActionReply, ActionRequest, CommandKind, CommandReply, CommandRequest, ContextProperties,
    Descriptor, TopologyDirection,
};

fn token(kind: CommandKind) -> Token {
    match kind {
        CommandKind::Add => Token::Add,
        CommandKind::Modify => Token::Modify,
        CommandKind::Subtract => Token::Subtract,
        CommandKind::Move => Token::Move,
        CommandKind::AuditValue => Token::AuditValue,
        CommandKind::AuditCapabilities => Token::AuditCapability,
        CommandKind::Notify => Token::Notify,
        CommandKind::ServiceChange => Token::ServiceChange,
    }
}

impl Output {
    pub(super) fn action_request(&mut self, action: &ActionRequest<'_>) {
        self.token(Token::Context);
        self.equal();
        self.text(&action.context.to_string());
        self.open();
        self.context_properties(&action.properties);
        if let Some(audit) = &action.audit {
            self.item();
            self.token(Token::ContextAudit);
            self.selections(&audit.items);
        }
        for command in &action.commands {
            self.item();
            self.command_request(command);
        }
        self.close();
    }

    fn command_request(&mut self, command: &CommandRequest<'_>) {
        if command.optional {
            self.text("O-");
        }
        if command.wildcard_response {
            self.text("W-");
        }
        self.token(token(command.kind));
        self.equal_terminations(&command.terminations);
        self.descriptors(&command.descriptors);
    }

    fn descriptors(&mut self, descriptors: &[Descriptor<'_>]) {
        if descriptors.is_empty() {
            return;
        }
        self.open();
        for descriptor in descriptors {
            self.item();
            self.descriptor(descriptor);
        }
        self.close();
    }

    pub(super) fn action_reply(&mut self, action: &ActionReply<'_>) {
        self.token(Token::Context);
        self.equal();
        self.text(&action.context.to_string());
        if action.error.is_none() && action.commands.is_empty() && action.properties.is_empty() {
            return;
        }
        self.open();
        self.context_properties(&action.properties);
        for command in &action.commands {
            self.item();
            self.command_reply(command);
        }
        if let Some(error) = &action.error {
            self.item();
            self.error(error);
        }
        self.close();
    }

    fn command_reply(&mut self, command: &CommandReply<'_>) {
        self.token(token(command.kind));
        if !command.of_context {
            self.equal_terminations(&command.terminations);
            return self.descriptors(&command.descriptors);
        }
        self.equal();
        self.token(Token::Context);
        self.open();
        for termination in &command.terminations {
            self.item();
            self.termination(termination);
        }
        for descriptor in &command.descriptors {
            self.item();
            self.descriptor(descriptor);
        }
        self.close();
    }

    fn context_properties(&mut self, properties: &ContextProperties<'_>) {
        if !properties.topology.is_empty() {
            self.item();
            self.token(Token::Topology);
            self.open();
            for triple in &properties.topology {
                self.item();
                self.termination(&triple.from);
                self.item();
                self.termination(&triple.to);
                self.item();
                self.token(match triple.direction {
                    TopologyDirection::Bothway => Token::Bothway,
                    TopologyDirection::Isolate => Token::Isolate,
                    TopologyDirection::Oneway => Token::Oneway,
                    TopologyDirection::OnewayExternal => Token::OnewayExternal,
                    TopologyDirection::OnewayBoth => Token::OnewayBoth,
                });
                if let Some(stream) = triple.stream {
                    self.item();
                    self.equals_number(Token::Stream, stream.into());
                }
            }
            self.close();
        }
        if let Some(priority) = properties.priority {
            self.item();
            self.equals_number(Token::Priority, priority.into());
        }
        if let Some(emergency) = properties.emergency {
            self.item();
            self.token(if emergency {
                Token::Emergency
            } else {
                Token::EmergencyOff
            });
        }
        if let Some(ieps) = properties.ieps {
            self.item();
            self.equals_switch(Token::IepsCall, ieps);
        }
        // The grammar lets a list of contexts and properties not stand together.
        if !properties.contexts.is_empty() {
            self.item();
            self.token(Token::ContextAttr);
            self.open();
            self.item();
            self.token(Token::ContextList);
            self.equal();
            self.open();
            for context in &properties.contexts {
                self.item();
                self.text(&context.to_string());
            }
            self.close();
            self.close();
        }
        if !properties.attributes.is_empty() {
            self.item();
            self.token(Token::ContextAttr);
            self.open();
            for property in &properties.attributes {
                self.item();
                self.property(property);
            }
            self.close();
        }
    }
}
