//! The object file as a whole: its names, and what must not be in it.

use sidestep_abi::{map, program};
use sidestep_tests::program::{Programs, isolated, object_path};

#[test]
fn the_object_has_every_map_and_program_by_its_name() {
    isolated(|| {
        let programs = Programs::load();
        let mut maps: Vec<_> = programs.ebpf.maps().map(|(name, _)| name).collect();
        // Those of the programs alone.
        maps.retain(|name| !["LOGGED", "AYA_LOGS"].contains(name) && !name.starts_with('.'));
        maps.sort_unstable();
        let mut expected = [
            map::ANCHORS,
            map::CONNECTIONS,
            map::COUNTERS,
            map::DOORS,
            map::DOOR_NS,
            map::DOOR_SOCKETS,
            map::EVENTS,
            map::FLOW_BUCKETS,
            map::FLOW_RECORDS,
            map::FLOW_SHAPE,
            map::FLOW_STATS,
            map::FOREIGN_SEEN,
            map::FRAGMENTS,
            map::LEASE,
            map::NEIGHBOURS,
            map::SIGNALLING_PORTS,
            map::UNREAD,
            map::UPLINKS,
            map::VLANS,
            map::VMS,
        ];
        expected.sort_unstable();
        assert_eq!(maps, expected);

        let mut names: Vec<_> = programs.ebpf.programs().map(|(name, _)| name).collect();
        names.sort_unstable();
        let mut expected = [
            program::DOOR_OUT,
            program::DOOR_SOCKET,
            program::TAP_FROM_VM,
            program::TAP_TO_VM,
            program::UPLINK,
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
    });
}

/// A program that could reach the panic handler would carry it, and loop for ever
/// in it as far as the verifier can see.
#[test]
fn no_program_can_panic() {
    let object = std::fs::read(object_path("sidestep").unwrap()).unwrap();
    let handler = b"rust_begin_unwind";
    assert!(!object.windows(handler.len()).any(|bytes| bytes == handler));
}
