//! A command of the VM's that names the TC and was refused goes again as the VM wrote
//! it, and the VM hears of the second only.

use super::super::line::{Own, OwnPurpose, Replied, Wanted};
use super::super::message::{Edit, Part, Reply, Segment};
use super::replies::Results;
use super::{LineKey, Room, Treated, forward, way};
use crate::bypass::Context;
use crate::engine::{Datagram, Side};

/// The first operation that was refused, and why, where the TC's media may be the
/// reason and nothing after it was done. `replied`: what earlier segments of the reply
/// have said.
pub(super) fn refused(asked: &[Wanted], replied: &Replied, reply: &Reply) -> Option<(usize, u16)> {
    let asked = asked.iter().enumerate();
    let mut open = asked.filter(|(at, _)| !replied.done.contains(at));
    if let Some(code) = reply.error {
        let (first, wanted) = open.next()?;
        let any = wanted.substituted || open.any(|(_, wanted)| wanted.substituted);
        return any.then_some((first, code));
    }
    let mut results = Results::new(reply);
    let mut outcomes = open.map(|(at, wanted)| {
        let outcome = results.of(&replied.named(at, wanted));
        (at, wanted.substituted, outcome.map(drop))
    });
    let (at, substituted, code) = loop {
        match outcomes.next()? {
            (_, _, Ok(())) => {}
            (at, substituted, Err(code)) => break (at, substituted, code),
        }
    };
    let nothing_after = outcomes.all(|(_, _, outcome)| outcome.is_err());
    (substituted && code != 0 && nothing_after).then_some((at, code))
}

impl Room {
    /// The transaction `id` of the VM's was refused from its operation `from` on, in
    /// the reply `index` of `datagram`, or in this segment of it. False: its calls stay
    /// as they are, or it cannot go again.
    pub(super) fn reissue(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        id: u32,
        (from, code): (usize, u16),
        (datagram, index, segment): (&Datagram, usize, Option<Segment>),
    ) -> bool {
        let line = self.lines.get_mut(&key);
        let Some(transaction) = line.and_then(|line| line.transaction(Side::Vm, id)) else {
            return false;
        };
        let untried = transaction.asked.iter().skip(from);
        let calls: Vec<u32> = untried
            .filter(|wanted| wanted.substituted)
            .flat_map(|wanted| wanted.calls.iter().map(|(_, call)| *call))
            .collect();
        let mut again = false;
        for number in calls {
            if let Some(call) = self.calls.get_mut(&number) {
                again |= call.gateway_refuses(cx, id, code);
            }
            self.after(cx, number);
        }
        let sent = again
            && self
                .send_again(cx, key, id, from, (datagram, index))
                .is_some();
        if sent
            && let Some(line) = self.lines.get_mut(&key)
            && let Some(transaction) = line.transaction(Side::Vm, id)
        {
            transaction.refused = Some(segment.map_or(0, |segment| segment.number));
        }
        sent
    }

    /// Under an id of our own, since the gateway has answered the VM's.
    fn send_again(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        id: u32,
        from: usize,
        (reply, index): (&Datagram, usize),
    ) -> Option<()> {
        let line = self.lines.get_mut(&key)?;
        let own = line.own_id(id);
        let codec = line.codec;
        let transaction = line.transaction(Side::Vm, id)?;
        let (datagram, part) = transaction.original.clone()?;
        let message = codec.read(&datagram.payload).ok()?;
        let payload = if from == 0 {
            let others = (0..message.parts().len()).filter(|index| *index != part);
            let mut edits: Vec<Edit> = others.map(|part| Edit::Drop { part }).collect();
            edits.push(Edit::Id { part, id: own });
            message.edited(&edits)
        } else {
            let first = (reply.payload.as_slice(), index);
            let rest = codec.rest(&datagram.payload, (part, from), first, own)?;
            transaction.first = Some((reply.payload.clone(), index));
            rest
        };
        transaction.original = None;
        transaction.edits = Vec::new();
        transaction.reissued = Some((own, payload.clone()));
        self.touched.extend(transaction.calls());
        let dialect = match message.parts().get(part) {
            Some(Part::Request(request)) => request.dialect.clone(),
            _ => Default::default(),
        };
        let purpose = OwnPurpose::Reissue(id);
        line.note_own(cx.now, own, Own::new(dialect, way(&datagram), purpose));
        self.expiry.set(&key, line.next_expiry());
        forward(
            cx,
            Datagram {
                payload,
                ..datagram
            },
        );
        Some(())
    }

    /// The reply to the rest of a transaction of the VM's, or all segments of it: with
    /// the reply to what was done at once it is the reply to the whole.
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        key: LineKey,
        id: u32,
        (first, part): (Vec<u8>, usize),
        rest: &[(Datagram, usize)],
    ) {
        let Some(codec) = self.lines.get(&key).map(|line| line.codec) else {
            return;
        };
        let Some((datagram, _)) = rest.last() else {
            return;
        };
        let replies: Vec<(&[u8], usize)> = rest
            .iter()
            .map(|(datagram, index)| (datagram.payload.as_slice(), *index))
            .collect();
        // What cannot be joined was refused, for all that the VM can know.
        let joined = codec.joined((&first, part), &replies, id);
        let payload = joined.unwrap_or(first);
        let Ok(message) = codec.read(&payload) else {
            return;
        };
        let mut treated = Treated::default();
        if let [Part::Reply(reply)] = message.parts() {
            self.conclude(cx, key, (Side::Vm, id), (datagram, 0, reply), &mut treated);
        }
        forward(
            cx,
            Datagram {
                payload: message.edited(&treated.edits),
                ..datagram.clone()
            },
        );
    }
}
