//! Names (H.248.1 §6.2, §8.3, Annex A): MId, TerminationID, PkgdName.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Fields, list, text};
use crate::h248::binary::ber::{Element, Failure, Tag};
use crate::h248::model::{ItemName, Mid, ParameterName, ServiceChangeAddress, TerminationId};

/// MId, its tag that of the alternative.
pub(super) fn m_id<'a>(element: &Element<'a>) -> Result<Mid<'a>, Failure> {
    match element.tag.alternative() {
        Some(number) => address(element, number),
        None => Err(element.error("an unknown alternative")),
    }
}

/// ServiceChangeAddress: a port, or the alternatives of MId, each numbered one
/// higher.
pub(super) fn service_change_address<'a>(
    element: &Element<'a>,
) -> Result<ServiceChangeAddress<'a>, Failure> {
    match element.tag.alternative() {
        Some(0) => Ok(ServiceChangeAddress::Port(element.u16()?)),
        Some(number) => address(element, number - 1).map(ServiceChangeAddress::Mid),
        None => Err(element.error("an unknown alternative")),
    }
}

fn address<'a>(element: &Element<'a>, number: u32) -> Result<Mid<'a>, Failure> {
    match number {
        0 => ip::<4>(element, "IP4Address"),
        1 => ip::<16>(element, "IP6Address"),
        2 => {
            let mut fields = Fields::of(element, "DomainName")?;
            let name = text(&fields.required(0, "no name")?)?;
            let port = port(&mut fields)?;
            fields.end(2)?;
            Ok(Mid::Domain { name, port })
        }
        3 => Ok(Mid::Device(text(element)?)),
        4 => {
            let octets = element.octets()?;
            if !(2..=4).contains(&octets.len()) {
                return Err(element.error("an MTP address that is not 2 to 4 octets"));
            }
            Ok(Mid::Mtp {
                address: octets
                    .iter()
                    .fold(0, |all, &octet| all << 8 | u32::from(octet)),
                digits: octets.len() as u8 * 2,
            })
        }
        _ => Err(element.error("an unknown alternative")),
    }
}

fn ip<'a, const N: usize>(
    element: &Element<'a>,
    construct: &'static str,
) -> Result<Mid<'a>, Failure>
where
    IpAddr: From<[u8; N]>,
{
    let mut fields = Fields::of(element, construct)?;
    let address: [u8; N] = fields.required(0, "no address")?.array()?;
    let port = port(&mut fields)?;
    fields.end(2)?;
    Ok(Mid::Ip {
        address: address.into(),
        port,
    })
}

fn port(fields: &mut Fields<'_>) -> Result<Option<u16>, Failure> {
    fields.optional(1)?.map(|port| port.u16()).transpose()
}

/// The gateway itself (H.248.1 Annex A.1).
const ROOT: [u8; 8] = [0xff; 8];

pub(super) fn termination_id<'a>(element: &Element<'a>) -> Result<TerminationId<'a>, Failure> {
    // As nearly all are: no wildcard, no length of more than one octet.
    if let [0xa0, 0, 0x81, length, id @ ..] = element.content_bytes()
        && element.is_constructed()
        && matches!(id.len(), 1..=8)
        && usize::from(*length) == id.len()
    {
        return Ok(named(Cow::Borrowed(&[]), Cow::Borrowed(id)));
    }
    let mut fields = Fields::of(element, "TerminationID")?;
    let wildcard = fields.required(0, "no wildcard")?;
    let id = fields.required(1, "no id")?;
    fields.end(2)?;
    let wildcards = list(&wildcard, "wildcard", Tag::OCTETS, |field| {
        field.array().map(|[octet]| octet)
    })?;
    let octets = id.octets()?;
    if octets.is_empty() || octets.len() > 8 {
        return Err(id.error("an id that is not 1 to 8 octets"));
    }
    Ok(named(wildcards.into(), octets))
}

fn named<'a>(wildcards: Cow<'a, [u8]>, id: Cow<'a, [u8]>) -> TerminationId<'a> {
    if wildcards.is_empty() && id.as_ref() == ROOT {
        return TerminationId::Root;
    }
    TerminationId::Octets { wildcards, id }
}

pub(super) fn termination_id_list<'a>(
    element: &Element<'a>,
) -> Result<Vec<TerminationId<'a>>, Failure> {
    super::sequences(element, "TerminationIDList", termination_id)
}

pub(super) fn pkgd_name<'a>(element: &Element<'_>) -> Result<ItemName<'a>, Failure> {
    let [a, b, c, d] = element.array()?;
    Ok(ItemName::Number {
        package: u16::from_be_bytes([a, b]),
        item: u16::from_be_bytes([c, d]),
    })
}

pub(super) fn name<'a>(element: &Element<'_>) -> Result<ParameterName<'a>, Failure> {
    Ok(ParameterName::Number(u16::from_be_bytes(element.array()?)))
}
