//! Actions, commands and their replies (H.248.1 §7.2, Annex A).

use super::audit::{audit_descriptor, empty_descriptors, packages_item, statistics_parameter};
use super::context::{context_attr_audit_request, context_request};
use super::event::{
    digit_map_descriptor, event_spec, events_descriptor, observed_events_descriptor,
    signals_descriptor,
};
use super::media::{media_descriptor, modem_descriptor, mux_descriptor};
use super::name::{termination_id, termination_id_list};
use super::service_change::{service_change_parm, service_change_res_parm};
use super::value::error_descriptor;
use super::{Fields, chosen, content_span, sequences, whole_span};
use crate::h248::binary::ber::{Element, Failure};
use crate::h248::model::{
    ActionReply, ActionRequest, CommandKind, CommandReply, CommandRequest, ContextId, Descriptor,
    ServiceChangeDescriptor, TerminationId,
};

pub(super) fn action_request<'a>(element: &Element<'a>) -> Result<ActionRequest<'a>, Failure> {
    let mut fields = Fields::of(element, "ActionRequest")?;
    let context = fields.required(0, "no contextId")?;
    let request = fields.optional(1)?;
    let audit = fields.optional(2)?;
    let commands = fields.required(3, "no commandRequests")?;
    fields.end(4)?;
    let properties = request.as_ref().map(context_request).transpose()?;
    Ok(ActionRequest {
        context: ContextId(context.u32()?),
        properties: properties.unwrap_or_default(),
        audit: audit.as_ref().map(context_attr_audit_request).transpose()?,
        commands: sequences(&commands, "commandRequests", command_request)?,
        context_span: content_span(&context),
    })
}

pub(super) fn action_reply<'a>(element: &Element<'a>) -> Result<ActionReply<'a>, Failure> {
    let mut fields = Fields::of(element, "ActionReply")?;
    let context = fields.required(0, "no contextId")?;
    let error = fields.optional(1)?;
    let reply = fields.optional(2)?;
    let commands = fields.required(3, "no commandReply")?;
    fields.end(4)?;
    let properties = reply.as_ref().map(context_request).transpose()?;
    let mut reader = commands.children("commandReply")?;
    let mut replies = Vec::with_capacity(reader.count());
    while let Some(reply) = reader.next()? {
        replies.push(command_reply(&reply)?);
    }
    Ok(ActionReply {
        context: ContextId(context.u32()?),
        error: error.as_ref().map(error_descriptor).transpose()?,
        properties: properties.unwrap_or_default(),
        commands: replies,
        context_span: content_span(&context),
    })
}

/// The command that the alternative `[number]` is, of requests and replies alike.
fn command_kind(element: &Element<'_>) -> Result<CommandKind, Failure> {
    Ok(match element.tag.alternative() {
        Some(0) => CommandKind::Add,
        Some(1) => CommandKind::Move,
        Some(2) => CommandKind::Modify,
        Some(3) => CommandKind::Subtract,
        Some(4) => CommandKind::AuditCapabilities,
        Some(5) => CommandKind::AuditValue,
        Some(6) => CommandKind::Notify,
        Some(7) => CommandKind::ServiceChange,
        _ => return Err(element.error("an unknown command")),
    })
}

/// What commands and replies have in common.
type Terminations<'a> = Vec<TerminationId<'a>>;
type Descriptors<'a> = Vec<Descriptor<'a>>;

fn command_request<'a>(element: &Element<'a>) -> Result<CommandRequest<'a>, Failure> {
    let mut fields = Fields::of(element, "CommandRequest")?;
    let command = chosen(&fields.required(0, "no command")?, "Command")?;
    let optional = fields.optional(1)?.is_some();
    let wildcard_response = fields.optional(2)?.is_some();
    fields.end(3)?;
    let kind = command_kind(&command)?;
    let (terminations, descriptors) = match kind {
        CommandKind::Add | CommandKind::Move | CommandKind::Modify => amm_request(&command)?,
        CommandKind::Subtract => subtract_request(&command)?,
        CommandKind::AuditCapabilities | CommandKind::AuditValue => audit_request(&command)?,
        CommandKind::Notify => notify_request(&command)?,
        CommandKind::ServiceChange => service_change_request(&command)?,
    };
    Ok(CommandRequest {
        optional,
        wildcard_response,
        kind,
        terminations,
        descriptors,
        span: whole_span(element),
    })
}

fn amm_request<'a>(element: &Element<'a>) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "AmmRequest")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let list = fields.required(1, "no descriptors")?;
    fields.end(2)?;
    let mut reader = list.children("AmmDescriptor")?;
    let mut descriptors = Vec::with_capacity(reader.count());
    while let Some(item) = reader.next()? {
        descriptors.push(match item.tag.alternative() {
            Some(0) => Descriptor::Media(media_descriptor(&item)?),
            Some(1) => Descriptor::Modem(modem_descriptor(&item)?),
            Some(2) => Descriptor::Mux(mux_descriptor(&item)?),
            Some(3) => Descriptor::Events(events_descriptor(&item)?),
            Some(4) => {
                Descriptor::EventBuffer(sequences(&item, "EventBufferDescriptor", event_spec)?)
            }
            Some(5) => Descriptor::Signals(signals_descriptor(&item)?),
            Some(6) => Descriptor::DigitMap(digit_map_descriptor(&item)?),
            Some(7) => Descriptor::Audit(audit_descriptor(&item)?),
            Some(8) => Descriptor::Statistics(sequences(
                &item,
                "StatisticsDescriptor",
                statistics_parameter,
            )?),
            Some(_) => continue,
            None => return Err(item.error("not a descriptor")),
        });
    }
    Ok((terminations, descriptors))
}

fn subtract_request<'a>(
    element: &Element<'a>,
) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "SubtractRequest")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let audit = fields.optional(1)?;
    fields.end(2)?;
    let audit = audit.as_ref().map(audit_descriptor).transpose()?;
    let descriptors = audit.map(Descriptor::Audit).into_iter().collect();
    Ok((terminations, descriptors))
}

fn audit_request<'a>(
    element: &Element<'a>,
) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "AuditRequest")?;
    let first = termination_id(&fields.required(0, "no terminationID")?)?;
    let audit = audit_descriptor(&fields.required(1, "no auditDescriptor")?)?;
    let list = fields.optional(2)?;
    fields.end(3)?;
    let mut terminations = vec![first];
    if let Some(list) = list {
        for termination in termination_id_list(&list)? {
            if !terminations.contains(&termination) {
                terminations.push(termination);
            }
        }
    }
    Ok((terminations, vec![Descriptor::Audit(audit)]))
}

fn notify_request<'a>(
    element: &Element<'a>,
) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "NotifyRequest")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let events = fields.required(1, "no observedEventsDescriptor")?;
    let error = fields.optional(2)?;
    fields.end(3)?;
    let mut descriptors = vec![Descriptor::ObservedEvents(observed_events_descriptor(
        &events,
    )?)];
    if let Some(error) = error {
        descriptors.push(Descriptor::Error(error_descriptor(&error)?));
    }
    Ok((terminations, descriptors))
}

fn service_change_request<'a>(
    element: &Element<'a>,
) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "ServiceChangeRequest")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let parameters = fields.required(1, "no serviceChangeParms")?;
    fields.end(2)?;
    let parameters = service_change_parm(&parameters)?;
    let descriptor = Descriptor::ServiceChange(Box::new(parameters));
    Ok((terminations, vec![descriptor]))
}

fn command_reply<'a>(element: &Element<'a>) -> Result<CommandReply<'a>, Failure> {
    let kind = command_kind(element)?;
    let mut of_context = false;
    let (terminations, descriptors) = match kind {
        CommandKind::Add | CommandKind::Move | CommandKind::Modify | CommandKind::Subtract => {
            amms_reply(element)?
        }
        CommandKind::AuditCapabilities | CommandKind::AuditValue => {
            let chosen = chosen(element, "AuditReply")?;
            of_context = matches!(chosen.tag.alternative(), Some(0 | 1));
            audit_reply(&chosen)?
        }
        CommandKind::Notify => notify_reply(element)?,
        CommandKind::ServiceChange => service_change_reply(element)?,
    };
    Ok(CommandReply {
        kind,
        terminations,
        of_context,
        descriptors,
        span: whole_span(element),
    })
}

fn amms_reply<'a>(element: &Element<'a>) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "AmmsReply")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let audit = fields.optional(1)?;
    fields.end(2)?;
    let descriptors = audit.as_ref().map(termination_audit).transpose()?;
    Ok((terminations, descriptors.unwrap_or_default()))
}

fn audit_reply<'a>(element: &Element<'a>) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    match element.tag.alternative() {
        Some(0) => Ok((termination_id_list(element)?, Vec::new())),
        Some(1) => {
            let error = Descriptor::Error(error_descriptor(element)?);
            Ok((Vec::new(), vec![error]))
        }
        Some(2) => {
            let mut fields = Fields::of(element, "AuditResult")?;
            let termination = termination_id(&fields.required(0, "no terminationID")?)?;
            let audit = fields.required(1, "no terminationAuditResult")?;
            fields.end(2)?;
            Ok((vec![termination], termination_audit(&audit)?))
        }
        Some(3) => {
            let mut fields = Fields::of(element, "TermListAuditResult")?;
            let list = fields.required(0, "no terminationIDList")?;
            let audit = fields.required(1, "no terminationAuditResult")?;
            fields.end(2)?;
            Ok((termination_id_list(&list)?, termination_audit(&audit)?))
        }
        _ => Err(element.error("an unknown alternative")),
    }
}

fn notify_reply<'a>(element: &Element<'a>) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "NotifyReply")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let error = fields.optional(1)?;
    fields.end(2)?;
    let error = error.as_ref().map(error_descriptor).transpose()?;
    let descriptors = error.map(Descriptor::Error).into_iter().collect();
    Ok((terminations, descriptors))
}

fn service_change_reply<'a>(
    element: &Element<'a>,
) -> Result<(Terminations<'a>, Descriptors<'a>), Failure> {
    let mut fields = Fields::of(element, "ServiceChangeReply")?;
    let terminations = termination_id_list(&fields.required(0, "no terminationID")?)?;
    let result = fields.required(1, "no serviceChangeResult")?;
    fields.end(2)?;
    let result = chosen(&result, "ServiceChangeResult")?;
    let descriptors = match result.tag.alternative() {
        Some(0) => vec![Descriptor::Error(error_descriptor(&result)?)],
        Some(1) => {
            let parameters = service_change_res_parm(&result)?;
            // Text has no descriptor where there is nothing to be said.
            if parameters == ServiceChangeDescriptor::default() {
                Vec::new()
            } else {
                vec![Descriptor::ServiceChange(Box::new(parameters))]
            }
        }
        _ => return Err(result.error("an unknown alternative")),
    };
    Ok((terminations, descriptors))
}

/// TerminationAudit: a list of AuditReturnParameter.
fn termination_audit<'a>(element: &Element<'a>) -> Result<Descriptors<'a>, Failure> {
    let mut reader = element.children("AuditReturnParameter")?;
    let mut all = Vec::with_capacity(reader.count());
    while let Some(item) = reader.next()? {
        all.push(match item.tag.alternative() {
            Some(0) => Descriptor::Error(error_descriptor(&item)?),
            Some(1) => Descriptor::Media(media_descriptor(&item)?),
            Some(2) => Descriptor::Modem(modem_descriptor(&item)?),
            Some(3) => Descriptor::Mux(mux_descriptor(&item)?),
            Some(4) => Descriptor::Events(events_descriptor(&item)?),
            Some(5) => {
                Descriptor::EventBuffer(sequences(&item, "EventBufferDescriptor", event_spec)?)
            }
            Some(6) => Descriptor::Signals(signals_descriptor(&item)?),
            Some(7) => Descriptor::DigitMap(digit_map_descriptor(&item)?),
            Some(8) => Descriptor::ObservedEvents(observed_events_descriptor(&item)?),
            Some(9) => Descriptor::Statistics(sequences(
                &item,
                "StatisticsDescriptor",
                statistics_parameter,
            )?),
            Some(10) => {
                Descriptor::Packages(sequences(&item, "PackagesDescriptor", packages_item)?)
            }
            Some(11) => {
                all.extend(empty_descriptors(&item)?.into_iter().map(Descriptor::Empty));
                continue;
            }
            Some(_) => continue,
            None => return Err(item.error("not a descriptor")),
        });
    }
    Ok(all)
}
