//! What is said and asked of a context itself (H.248.1 §6.1.1, §7.1.18, Annex A).

use super::audit::{ind_aud_property_parm, token};
use super::name::termination_id;
use super::value::property_parm;
use super::{Fields, chosen, list, sequences};
use crate::h248::binary::ber::{Element, Failure, Tag};
use crate::h248::model::{
    ContextAudit, ContextId, ContextProperties, Selection, TopologyDirection, TopologyTriple, Value,
};

pub(super) fn context_request<'a>(element: &Element<'a>) -> Result<ContextProperties<'a>, Failure> {
    let mut fields = Fields::of(element, "ContextRequest")?;
    let priority = fields.optional(0)?;
    let emergency = fields.optional(1)?;
    let topology = fields.optional(2)?;
    let ieps = fields.optional(3)?;
    let attributes = fields.optional(4)?;
    let contexts = fields.optional(5)?;
    fields.end(6)?;
    let topology = topology.map(|all| sequences(&all, "topologyReq", topology_request));
    let attributes = attributes.map(|all| sequences(&all, "contextProp", property_parm));
    let contexts = contexts.map(|all| {
        list(&all, "contextList", Tag::INTEGER, |id| {
            id.u32().map(ContextId)
        })
    });
    Ok(ContextProperties {
        topology: topology.transpose()?.unwrap_or_default(),
        priority: priority.map(|priority| priority.u16()).transpose()?,
        emergency: emergency.map(|flag| flag.boolean()).transpose()?,
        ieps: ieps.map(|flag| flag.boolean()).transpose()?,
        contexts: contexts.transpose()?.unwrap_or_default(),
        attributes: attributes.transpose()?.unwrap_or_default(),
    })
}

fn topology_request<'a>(element: &Element<'a>) -> Result<TopologyTriple<'a>, Failure> {
    let mut fields = Fields::of(element, "TopologyRequest")?;
    let from = termination_id(&fields.required(0, "no terminationFrom")?)?;
    let to = termination_id(&fields.required(1, "no terminationTo")?)?;
    let direction = fields.required(2, "no topologyDirection")?;
    let stream = fields.optional(3)?;
    let extension = fields.optional(4)?;
    fields.end(5)?;
    let direction = match (direction.u32()?, extension) {
        (_, Some(extension)) => match extension.u32()? {
            0 => TopologyDirection::OnewayExternal,
            1 => TopologyDirection::OnewayBoth,
            _ => return Err(extension.error("an unknown topology direction")),
        },
        (0, None) => TopologyDirection::Bothway,
        (1, None) => TopologyDirection::Isolate,
        (2, None) => TopologyDirection::Oneway,
        _ => return Err(direction.error("an unknown topology direction")),
    };
    Ok(TopologyTriple {
        from,
        to,
        direction,
        stream: stream.map(|stream| stream.u16()).transpose()?,
    })
}

pub(super) fn context_attr_audit_request<'a>(
    element: &Element<'a>,
) -> Result<ContextAudit<'a>, Failure> {
    fn switch<'a>(flag: bool) -> Option<Value<'a>> {
        Some(Value::Equal(if flag { "ON" } else { "OFF" }.into()))
    }
    fn valued<'a>(name: &'static str, value: Option<Value<'a>>) -> Selection<'a> {
        Selection {
            value,
            ..token(name)
        }
    }
    let mut fields = Fields::of(element, "ContextAttrAuditRequest")?;
    let mut items = Vec::new();
    for (number, name) in [
        (0, "Topology"),
        (1, "Emergency"),
        (2, "Priority"),
        (3, "IEPSCall"),
    ] {
        if fields.optional(number)?.is_some() {
            items.push(token(name));
        }
    }
    if let Some(properties) = fields.optional(4)? {
        items.extend(sequences(
            &properties,
            "contextPropAud",
            ind_aud_property_parm,
        )?);
    }
    if let Some(priority) = fields.optional(5)? {
        let priority = priority.unsigned(15)?.to_string();
        items.push(valued("Priority", Some(Value::Equal(priority.into()))));
    }
    if let Some(emergency) = fields.optional(6)? {
        items.push(valued("Emergency", switch(emergency.boolean()?)));
    }
    if let Some(ieps) = fields.optional(7)? {
        items.push(valued("IEPSCall", switch(ieps.boolean()?)));
    }
    if let Some(logic) = fields.optional(8)? {
        let logic = chosen(&logic, "SelectLogic")?;
        match logic.tag.alternative() {
            Some(0) => items.push(token("ANDLgc")),
            Some(1) => items.push(token("ORLgc")),
            _ => {}
        }
    }
    fields.end(9)?;
    Ok(ContextAudit { items })
}
