//! ServiceChange (H.248.1 §7.1.13, §7.2.8, Annex A).

use super::audit::audit_descriptor;
use super::{Written, m_id, octet_strings, optional_u32, refuse, tag, text, time_notation};
use crate::h248::binary::writer::Writer;
use crate::h248::model::{
    Mid, ServiceChangeAddress, ServiceChangeDescriptor, ServiceChangeMethod, ServiceChangeProfile,
};

pub(super) fn service_change_parm(
    w: &mut Writer,
    parameters: &ServiceChangeDescriptor<'_>,
) -> Written {
    let number = match &parameters.method {
        Some(ServiceChangeMethod::Failover) => 0u32,
        Some(ServiceChangeMethod::Forced) => 1,
        Some(ServiceChangeMethod::Graceful) => 2,
        Some(ServiceChangeMethod::Restart) => 3,
        Some(ServiceChangeMethod::Disconnected) => 4,
        Some(ServiceChangeMethod::Handoff) => 5,
        Some(ServiceChangeMethod::Other(word)) => {
            match word
                .strip_prefix("X-")
                .and_then(|number| number.parse().ok())
            {
                Some(number) => number,
                None => return refuse("ServiceChangeMethod", "a word of no known number"),
            }
        }
        None => return refuse("ServiceChangeParm", "no method"),
    };
    w.unsigned(tag(0), number);
    address(w, 1, parameters.address.as_ref())?;
    optional_u32(w, 2, parameters.version.map(u32::from));
    profile(w, 3, parameters.profile.as_ref());
    let reason: Vec<_> = parameters.reason.iter().collect();
    octet_strings(w, 4, &reason);
    optional_u32(w, 5, parameters.delay);
    mgc_id(w, 6, parameters.mgc_id.as_ref())?;
    if let Some(time) = parameters.time {
        time_notation(w, 7, time);
    }
    if let Some(info) = &parameters.info {
        audit_descriptor(w, 9, info)?;
    }
    w.flag(tag(10), parameters.incomplete);
    no_extensions(parameters)
}

pub(super) fn service_change_res_parm(
    w: &mut Writer,
    parameters: &ServiceChangeDescriptor<'_>,
) -> Written {
    mgc_id(w, 0, parameters.mgc_id.as_ref())?;
    address(w, 1, parameters.address.as_ref())?;
    optional_u32(w, 2, parameters.version.map(u32::from));
    profile(w, 3, parameters.profile.as_ref());
    if let Some(time) = parameters.time {
        time_notation(w, 4, time);
    }
    no_extensions(parameters)
}

fn no_extensions(parameters: &ServiceChangeDescriptor<'_>) -> Written {
    if parameters.extensions.is_empty() {
        return Ok(());
    }
    refuse("ServiceChangeParm", "an extension of the text encoding")
}

fn address(w: &mut Writer, at: u32, address: Option<&ServiceChangeAddress<'_>>) -> Written {
    match address {
        None => Ok(()),
        Some(ServiceChangeAddress::Port(port)) => {
            w.constructed(tag(at), |w| w.unsigned(tag(0), *port));
            Ok(())
        }
        Some(ServiceChangeAddress::Mid(mid)) => w.try_constructed(tag(at), |w| m_id(w, 1, mid)),
    }
}

fn mgc_id(w: &mut Writer, at: u32, mid: Option<&Mid<'_>>) -> Written {
    match mid {
        None => Ok(()),
        Some(mid) => w.try_constructed(tag(at), |w| m_id(w, 0, mid)),
    }
}

fn profile(w: &mut Writer, at: u32, profile: Option<&ServiceChangeProfile<'_>>) {
    let Some(ServiceChangeProfile { name, version }) = profile else {
        return;
    };
    w.constructed(tag(at), |w| match version {
        0 => text(w, 0, name),
        _ => text(w, 0, &format!("{name}/{version}")),
    });
}
