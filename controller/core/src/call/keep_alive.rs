//! When the bypassed VM is sent its keep-alive.

use super::{Call, Context};

impl Call {
    /// Sends the VM what is due of its keep-alive.
    pub(super) fn keep_vm_alive(&mut self, cx: &mut Context<'_>) {
        let (Some(keep_alive), Some(vm), Some(told)) =
            (&mut self.keep_alive, &self.vm, self.told_vm.media())
        else {
            self.keep_alive = None;
            return;
        };
        if told.is_null_address() || vm.media.channel.is_secure() {
            // Nothing comes from a null address, and what is not encrypted is
            // not heard where it has to be.
            return keep_alive.put_off(cx.now, cx.config.keep_alive);
        }
        let peer = (told.rtp, told.rtcp);
        // The codecs of both descriptions: those that the answer left.
        let mut media = vm.media.clone();
        media
            .codecs
            .retain(|codec| told.codecs.iter().any(|other| other.same_encoding(codec)));
        for datagram in keep_alive.run(cx.now, cx.config.keep_alive, &media, peer) {
            cx.send(datagram);
        }
    }
}
