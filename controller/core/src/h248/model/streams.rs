//! Where in a message streams stand.

use super::command::Descriptor;
use super::media::{MediaDescriptor, Stream};
use super::message::{Message, Transaction};
use crate::h248::change::Place;

impl<'a> Message<'a> {
    /// The descriptors of a command, request or reply, by its indexes.
    fn descriptors(&self, place: Place) -> Option<&[Descriptor<'a>]> {
        match self.transactions().get(place.transaction)? {
            Transaction::Request(request) => {
                let action = request.actions.get(place.action)?;
                Some(&action.commands.get(place.command)?.descriptors)
            }
            Transaction::Reply(reply) => {
                let action = reply.actions().get(place.action)?;
                Some(&action.commands.get(place.command)?.descriptors)
            }
            _ => None,
        }
    }

    /// The stream at `place`.
    pub fn stream(&self, place: Place) -> Option<&Stream<'a>> {
        match self.descriptors(place)?.get(place.descriptor)? {
            Descriptor::Media(media) => media.streams.get(place.stream),
            _ => None,
        }
    }

    /// Every stream of every Media, and where it stands.
    pub fn streams(&self) -> impl Iterator<Item = (Place, &Stream<'a>)> {
        self.medias().flat_map(|(place, media)| {
            media
                .streams
                .iter()
                .enumerate()
                .map(move |(stream, found)| (Place { stream, ..place }, found))
        })
    }

    /// Every Media, and where it stands (the place of its first stream).
    pub fn medias(&self) -> impl Iterator<Item = (Place, &MediaDescriptor<'a>)> {
        let commands = self
            .transactions()
            .iter()
            .enumerate()
            .flat_map(|(transaction, found)| {
                let mut commands: Vec<(Place, &[Descriptor<'a>])> = Vec::new();
                let place = |action, command| Place {
                    transaction,
                    action,
                    command,
                    descriptor: 0,
                    stream: 0,
                };
                match found {
                    Transaction::Request(request) => {
                        for (a, action) in request.actions.iter().enumerate() {
                            for (c, command) in action.commands.iter().enumerate() {
                                commands.push((place(a, c), &command.descriptors));
                            }
                        }
                    }
                    Transaction::Reply(reply) => {
                        for (a, action) in reply.actions().iter().enumerate() {
                            for (c, command) in action.commands.iter().enumerate() {
                                commands.push((place(a, c), &command.descriptors));
                            }
                        }
                    }
                    _ => {}
                }
                commands
            });
        commands.flat_map(|(place, descriptors)| {
            descriptors
                .iter()
                .enumerate()
                .filter_map(move |(descriptor, found)| match found {
                    Descriptor::Media(media) => Some((
                        Place {
                            descriptor,
                            ..place
                        },
                        media,
                    )),
                    _ => None,
                })
        })
    }
}
