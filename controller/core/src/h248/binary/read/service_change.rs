//! ServiceChange (H.248.1 §7.1.13, §7.2.8, Annex A).

use std::borrow::Cow;

use super::audit::audit_descriptor;
use super::event::time_notation;
use super::name::{m_id, service_change_address};
use super::value::octet_strings;
use super::{Fields, chosen, text};
use crate::h248::binary::ber::{Element, Failure};
use crate::h248::model::{
    Mid, ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod, ServiceChangeProfile,
};

pub(super) fn service_change_parm<'a>(
    element: &Element<'a>,
) -> Result<ServiceChangeDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "ServiceChangeParm")?;
    let method = fields.required(0, "no serviceChangeMethod")?;
    let address = fields.optional(1)?;
    let version = fields.optional(2)?;
    let profile = fields.optional(3)?;
    let reason = fields.required(4, "no serviceChangeReason")?;
    let delay = fields.optional(5)?;
    let mgc_id = fields.optional(6)?;
    let time = fields.optional(7)?;
    // nonStandardData
    fields.optional(8)?;
    let info = fields.optional(9)?;
    let incomplete = fields.optional(10)?;
    fields.end(11)?;
    Ok(ServiceChangeDescriptor {
        method: Some(service_change_method(&method)?),
        reason: octet_strings(&reason)?,
        delay: delay.map(|delay| delay.u32()).transpose()?,
        address: address.as_ref().map(address_of).transpose()?,
        profile: profile.as_ref().map(service_change_profile).transpose()?,
        time: time.as_ref().map(time_notation).transpose()?,
        mgc_id: mgc_id.as_ref().map(mgc_id_of).transpose()?,
        version: version.map(|version| version.u8(99)).transpose()?,
        info: info.as_ref().map(audit_descriptor).transpose()?,
        incomplete: incomplete.is_some(),
        extensions: Vec::new(),
    })
}

pub(super) fn service_change_res_parm<'a>(
    element: &Element<'a>,
) -> Result<ServiceChangeDescriptor<'a>, Failure> {
    let mut fields = Fields::of(element, "ServiceChangeResParm")?;
    let mgc_id = fields.optional(0)?;
    let address = fields.optional(1)?;
    let version = fields.optional(2)?;
    let profile = fields.optional(3)?;
    let time = fields.optional(4)?;
    fields.end(5)?;
    Ok(ServiceChangeDescriptor {
        address: address.as_ref().map(address_of).transpose()?,
        profile: profile.as_ref().map(service_change_profile).transpose()?,
        time: time.as_ref().map(time_notation).transpose()?,
        mgc_id: mgc_id.as_ref().map(mgc_id_of).transpose()?,
        version: version.map(|version| version.u8(99)).transpose()?,
        ..ServiceChangeDescriptor::default()
    })
}

fn address_of<'a>(element: &Element<'a>) -> Result<ServiceChangeAddress<'a>, Failure> {
    service_change_address(&chosen(element, "ServiceChangeAddress")?)
}

fn mgc_id_of<'a>(element: &Element<'a>) -> Result<Mid<'a>, Failure> {
    m_id(&chosen(element, "MId")?)
}

fn service_change_method<'a>(element: &Element<'_>) -> Result<ServiceChangeMethod<'a>, Failure> {
    Ok(match element.u32()? {
        0 => ServiceChangeMethod::Failover,
        1 => ServiceChangeMethod::Forced,
        2 => ServiceChangeMethod::Graceful,
        3 => ServiceChangeMethod::Restart,
        4 => ServiceChangeMethod::Disconnected,
        5 => ServiceChangeMethod::Handoff,
        number => ServiceChangeMethod::Other(Cow::Owned(format!("X-{number}"))),
    })
}

/// `name/version`; where no version can be read, the whole is the name, and the
/// version 0.
fn service_change_profile<'a>(element: &Element<'a>) -> Result<ServiceChangeProfile<'a>, Failure> {
    let mut fields = Fields::of(element, "ServiceChangeProfile")?;
    let name = text(&fields.required(0, "no profileName")?)?;
    fields.end(1)?;
    let parts = name.rsplit_once('/');
    let parts = parts.and_then(|(name, version)| Some((name.len(), version.parse().ok()?)));
    let (length, version) = parts.unwrap_or((name.len(), 0));
    let name = match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.get(..length).unwrap_or(name)),
        Cow::Owned(mut name) => {
            name.truncate(length);
            Cow::Owned(name)
        }
    };
    Ok(ServiceChangeProfile { name, version })
}
