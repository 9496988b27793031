//! Actions, commands and their replies (H.248.1 §7.2, Annex A).

use super::audit::{
    audit_descriptor, context_attr_audit_request, empty_descriptors, packages_descriptor,
    statistics_descriptor,
};
use super::event::{
    digit_map_descriptor, event_buffer, events_descriptor, observed_events, signals_descriptor,
};
use super::media::{media_descriptor, modem_descriptor, mux_descriptor};
use super::service_change::{service_change_parm, service_change_res_parm};
use super::{
    Written, error_descriptor, optional_boolean, optional_u16, property_parm, refuse, sequences,
    tag, termination_id,
};
use crate::h248::binary::ber::Tag;
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    ActionReply, ActionRequest, AuditDescriptor, CommandKind, CommandReply, CommandRequest,
    ContextProperties, Descriptor, ServiceChangeDescriptor, TerminationId, TopologyDirection,
    TopologyTriple,
};

pub(super) fn action_request(w: &mut Writer, action: &ActionRequest<'_>) -> Written {
    w.unsigned(tag(0), action.context.0);
    if !action.properties.is_empty() {
        w.try_constructed(tag(1), |w| context_request(w, &action.properties))?;
    }
    if let Some(audit) = &action.audit {
        w.try_constructed(tag(2), |w| context_attr_audit_request(w, audit))?;
    }
    sequences(w, 3, &action.commands, command_request)
}

pub(super) fn action_reply(w: &mut Writer, action: &ActionReply<'_>) -> Written {
    w.unsigned(tag(0), action.context.0);
    if let Some(error) = &action.error {
        error_descriptor(w, 1, error);
    }
    if !action.properties.is_empty() {
        w.try_constructed(tag(2), |w| context_request(w, &action.properties))?;
    }
    w.try_constructed(tag(3), |w| {
        action
            .commands
            .iter()
            .try_for_each(|reply| command_reply(w, reply))
    })
}

fn context_request(w: &mut Writer, properties: &ContextProperties<'_>) -> Written {
    optional_u16(w, 0, properties.priority);
    optional_boolean(w, 1, properties.emergency);
    if !properties.topology.is_empty() {
        sequences(w, 2, &properties.topology, topology_request)?;
    }
    optional_boolean(w, 3, properties.ieps);
    if !properties.attributes.is_empty() {
        sequences(w, 4, &properties.attributes, property_parm)?;
    }
    if !properties.contexts.is_empty() {
        w.constructed(tag(5), |w| {
            for context in &properties.contexts {
                w.unsigned(Tag::INTEGER, context.0);
            }
        });
    }
    Ok(())
}

fn topology_request(w: &mut Writer, triple: &TopologyTriple<'_>) -> Written {
    w.try_constructed(tag(0), |w| termination_id(w, &triple.from))?;
    w.try_constructed(tag(1), |w| termination_id(w, &triple.to))?;
    // The directions of version 3 are an extension beside one of the three.
    let (direction, extension) = match triple.direction {
        TopologyDirection::Bothway => (0u32, None),
        TopologyDirection::Isolate => (1, None),
        TopologyDirection::Oneway => (2, None),
        TopologyDirection::OnewayExternal => (2, Some(0u32)),
        TopologyDirection::OnewayBoth => (2, Some(1)),
    };
    w.unsigned(tag(2), direction);
    optional_u16(w, 3, triple.stream);
    super::optional_u32(w, 4, extension);
    Ok(())
}

/// The alternative that a command is, of requests and replies alike.
fn alternative(kind: CommandKind) -> Tag {
    tag(match kind {
        CommandKind::Add => 0,
        CommandKind::Move => 1,
        CommandKind::Modify => 2,
        CommandKind::Subtract => 3,
        CommandKind::AuditCapabilities => 4,
        CommandKind::AuditValue => 5,
        CommandKind::Notify => 6,
        CommandKind::ServiceChange => 7,
    })
}

fn termination_id_list(w: &mut Writer, all: &[TerminationId<'_>]) -> Written {
    sequences(w, 0, all, termination_id)
}

fn command_request(w: &mut Writer, command: &CommandRequest<'_>) -> Written {
    w.try_constructed(tag(0), |w| {
        w.try_constructed(alternative(command.kind), |w| match command.kind {
            CommandKind::Add | CommandKind::Move | CommandKind::Modify => {
                termination_id_list(w, &command.terminations)?;
                w.try_constructed(tag(1), |w| {
                    let descriptors = &command.descriptors;
                    descriptors
                        .iter()
                        .try_for_each(|one| amm_descriptor(w, one))
                })
            }
            CommandKind::Subtract => {
                termination_id_list(w, &command.terminations)?;
                match audit_of(&command.descriptors)? {
                    Some(audit) => audit_descriptor(w, 1, audit),
                    None => Ok(()),
                }
            }
            CommandKind::AuditCapabilities | CommandKind::AuditValue => audit_request(w, command),
            CommandKind::Notify => notify_request(w, command),
            CommandKind::ServiceChange => {
                termination_id_list(w, &command.terminations)?;
                match command.descriptors.as_slice() {
                    [Descriptor::ServiceChange(parameters)] => {
                        w.try_constructed(tag(1), |w| service_change_parm(w, parameters))
                    }
                    _ => refuse("ServiceChangeRequest", "not one ServiceChange descriptor"),
                }
            }
        })
    })?;
    w.flag(tag(1), command.optional);
    w.flag(tag(2), command.wildcard_response);
    Ok(())
}

fn amm_descriptor(w: &mut Writer, descriptor: &Descriptor<'_>) -> Written {
    match descriptor {
        Descriptor::Media(media) => media_descriptor(w, 0, media),
        Descriptor::Modem(modem) => modem_descriptor(w, 1, modem),
        Descriptor::Mux(mux) => mux_descriptor(w, 2, mux),
        Descriptor::Events(events) => events_descriptor(w, 3, events),
        Descriptor::EventBuffer(events) => event_buffer(w, 4, events),
        Descriptor::Signals(signals) => signals_descriptor(w, 5, signals),
        Descriptor::DigitMap(map) => digit_map_descriptor(w, 6, map),
        Descriptor::Audit(audit) => audit_descriptor(w, 7, audit),
        Descriptor::Statistics(statistics) => statistics_descriptor(w, 8, statistics),
        _ => refuse(
            "AmmDescriptor",
            "a descriptor that is none of its alternatives",
        ),
    }
}

fn audit_of<'d, 'a>(
    descriptors: &'d [Descriptor<'a>],
) -> Result<Option<&'d AuditDescriptor<'a>>, super::WriteError> {
    match descriptors {
        [] => Ok(None),
        [Descriptor::Audit(audit)] => Ok(Some(audit)),
        _ => refuse(
            "AuditDescriptor",
            "a descriptor beside or in the place of Audit",
        ),
    }
}

fn audit_request(w: &mut Writer, command: &CommandRequest<'_>) -> Written {
    let Some(first) = command.terminations.first() else {
        return refuse("AuditRequest", "no termination");
    };
    w.try_constructed(tag(0), |w| termination_id(w, first))?;
    let nothing = AuditDescriptor::default();
    let audit = audit_of(&command.descriptors)?;
    audit_descriptor(w, 1, audit.unwrap_or(&nothing))?;
    if command.terminations.len() > 1 {
        sequences(w, 2, &command.terminations, termination_id)?;
    }
    Ok(())
}

fn notify_request(w: &mut Writer, command: &CommandRequest<'_>) -> Written {
    termination_id_list(w, &command.terminations)?;
    match command.descriptors.as_slice() {
        [Descriptor::ObservedEvents(events)] => observed_events(w, 1, events),
        [Descriptor::ObservedEvents(events), Descriptor::Error(error)] => {
            observed_events(w, 1, events)?;
            error_descriptor(w, 2, error);
            Ok(())
        }
        _ => refuse(
            "NotifyRequest",
            "other than ObservedEvents, or that and Error",
        ),
    }
}

fn command_reply(w: &mut Writer, reply: &CommandReply<'_>) -> Written {
    w.try_constructed(alternative(reply.kind), |w| match reply.kind {
        CommandKind::Add | CommandKind::Move | CommandKind::Modify | CommandKind::Subtract => {
            termination_id_list(w, &reply.terminations)?;
            if reply.descriptors.is_empty() {
                return Ok(());
            }
            termination_audit(w, 1, &reply.descriptors)
        }
        CommandKind::AuditCapabilities | CommandKind::AuditValue => audit_reply(w, reply),
        CommandKind::Notify => {
            termination_id_list(w, &reply.terminations)?;
            match reply.descriptors.as_slice() {
                [] => Ok(()),
                [Descriptor::Error(error)] => {
                    error_descriptor(w, 1, error);
                    Ok(())
                }
                _ => refuse("NotifyReply", "other than Error"),
            }
        }
        CommandKind::ServiceChange => {
            termination_id_list(w, &reply.terminations)?;
            w.try_constructed(tag(1), |w| match reply.descriptors.as_slice() {
                [] => w.try_constructed(tag(1), |w| {
                    service_change_res_parm(w, &ServiceChangeDescriptor::default())
                }),
                [Descriptor::ServiceChange(parameters)] => {
                    w.try_constructed(tag(1), |w| service_change_res_parm(w, parameters))
                }
                [Descriptor::Error(error)] => {
                    error_descriptor(w, 0, error);
                    Ok(())
                }
                _ => refuse("ServiceChangeResult", "other than ServiceChange or Error"),
            })
        }
    })
}

fn audit_reply(w: &mut Writer, reply: &CommandReply<'_>) -> Written {
    match (reply.of_context, reply.descriptors.as_slice()) {
        (true, []) => termination_id_list(w, &reply.terminations),
        (true, [Descriptor::Error(error)]) => {
            error_descriptor(w, 1, error);
            Ok(())
        }
        (true, _) => refuse("AuditReply", "descriptors of a context"),
        (false, descriptors) => match reply.terminations.as_slice() {
            [termination] => w.try_constructed(tag(2), |w| {
                w.try_constructed(tag(0), |w| termination_id(w, termination))?;
                termination_audit(w, 1, descriptors)
            }),
            all => w.try_constructed(tag(3), |w| {
                termination_id_list(w, all)?;
                termination_audit(w, 1, descriptors)
            }),
        },
    }
}

fn termination_audit(w: &mut Writer, number: u32, descriptors: &[Descriptor<'_>]) -> Written {
    w.try_constructed(tag(number), |w| {
        let mut rest = descriptors;
        while let Some(descriptor) = rest.first() {
            // Empty ones that follow one another are one element.
            let empty = rest.iter().map_while(|one| match one {
                Descriptor::Empty(token) => Some(*token),
                _ => None,
            });
            let empty: Vec<_> = empty.collect();
            if empty.is_empty() {
                audit_return_parameter(w, descriptor)?;
            } else {
                empty_descriptors(w, 11, &empty);
            }
            rest = rest.get(empty.len().max(1)..).unwrap_or_default();
        }
        Ok(())
    })
}

fn audit_return_parameter(w: &mut Writer, descriptor: &Descriptor<'_>) -> Written {
    match descriptor {
        Descriptor::Error(error) => {
            error_descriptor(w, 0, error);
            Ok(())
        }
        Descriptor::Media(media) => media_descriptor(w, 1, media),
        Descriptor::Modem(modem) => modem_descriptor(w, 2, modem),
        Descriptor::Mux(mux) => mux_descriptor(w, 3, mux),
        Descriptor::Events(events) => events_descriptor(w, 4, events),
        Descriptor::EventBuffer(events) => event_buffer(w, 5, events),
        Descriptor::Signals(signals) => signals_descriptor(w, 6, signals),
        Descriptor::DigitMap(map) => digit_map_descriptor(w, 7, map),
        Descriptor::ObservedEvents(events) => observed_events(w, 8, events),
        Descriptor::Statistics(statistics) => statistics_descriptor(w, 9, statistics),
        Descriptor::Packages(packages) => packages_descriptor(w, 10, packages),
        Descriptor::Audit(_) | Descriptor::ServiceChange(_) | Descriptor::Empty(_) => refuse(
            "AuditReturnParameter",
            "a descriptor that is none of its alternatives",
        ),
    }
}
