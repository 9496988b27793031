//! Media and its parts.

use super::super::token::Token;
use super::output::Output;
use crate::h248::model::{
    BufferControl, Description, LocalControl, MediaDescriptor, ServiceState, Stream, StreamMode,
    TerminationState,
};

impl Output {
    pub(super) fn media(&mut self, media: &MediaDescriptor<'_>) {
        self.token(Token::Media);
        self.open();
        if let Some(state) = &media.state {
            self.item();
            self.termination_state(state);
        }
        for stream in &media.streams {
            let Some(id) = stream.id else {
                self.stream_parameters(stream);
                continue;
            };
            self.item();
            self.equals_number(Token::Stream, id.into());
            self.open();
            self.stream_parameters(stream);
            self.close();
        }
        self.close();
    }

    fn stream_parameters(&mut self, stream: &Stream<'_>) {
        if let Some(control) = &stream.control {
            self.item();
            self.local_control(control);
        }
        if let Some(local) = &stream.local {
            self.item();
            self.description(Token::Local, local);
        }
        if let Some(remote) = &stream.remote {
            self.item();
            self.description(Token::Remote, remote);
        }
        if let Some(statistics) = &stream.statistics {
            self.item();
            self.statistics(statistics);
        }
    }

    fn description(&mut self, token: Token, description: &Description<'_>) {
        self.token(token);
        self.octet_string(&description.unescaped());
    }

    fn local_control(&mut self, control: &LocalControl<'_>) {
        self.token(Token::LocalControl);
        self.open();
        if let Some(mode) = control.mode {
            self.item();
            self.equals(
                Token::Mode,
                match mode {
                    StreamMode::SendOnly => Token::SendOnly,
                    StreamMode::ReceiveOnly => Token::ReceiveOnly,
                    StreamMode::SendReceive => Token::SendReceive,
                    StreamMode::Inactive => Token::Inactive,
                    StreamMode::Loopback => Token::Loopback,
                },
            );
        }
        if let Some(group) = control.reserve_group {
            self.item();
            self.equals_switch(Token::ReservedGroup, group);
        }
        if let Some(value) = control.reserve_value {
            self.item();
            self.equals_switch(Token::ReservedValue, value);
        }
        for property in &control.properties {
            self.item();
            self.property(property);
        }
        self.close();
    }

    fn termination_state(&mut self, state: &TerminationState<'_>) {
        self.token(Token::TerminationState);
        self.open();
        if let Some(service) = state.service_state {
            self.item();
            self.equals(
                Token::ServiceStates,
                match service {
                    ServiceState::Test => Token::Test,
                    ServiceState::OutOfService => Token::OutOfService,
                    ServiceState::InService => Token::InService,
                },
            );
        }
        if let Some(buffer) = state.buffer {
            self.item();
            self.equals(
                Token::Buffer,
                match buffer {
                    BufferControl::Off => Token::Off,
                    BufferControl::LockStep => Token::LockStep,
                },
            );
        }
        for property in &state.properties {
            self.item();
            self.property(property);
        }
        self.close();
    }
}
