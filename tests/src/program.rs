//! The kernel programs under test: loaded where nothing else sees them, run on
//! one packet (BPF_PROG_TEST_RUN), their maps written and read.
//!
//! Every test gets a thread in a network and mount namespace of its own
//! ([`isolated`]); interfaces, routes and pins vanish with it. Without root or
//! BPF a test fails, it is never skipped.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf, SockMap};
use aya::programs::{SchedClassifier, SkLookup, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use sidestep_abi::counter::{Counter, Event};
use sidestep_abi::door::{
    ConnectionKey, Door, Neighbour, NeighbourKey, PortClass, Side, Unread, UnreadKey, UnreadSeen,
    VM_CONNECTIONS, Vm,
};
use sidestep_abi::flow::{
    self, AnchorKey, FlowAction, FlowKey, FlowKind, FlowLeg, FlowStats, Vlan, VlanKey,
};
use sidestep_abi::table::{
    self, TableShape,
    writer::{self, Writer},
};
use sidestep_abi::{TABLE_SHAPE, map, program};

use crate::packet::Mac;

/// Entries of the flow maps in fixtures.
pub const FLOWS: u32 = 64;

/// Where maps are pinned while they are loaded.
const PINS: &str = "/sys/fs/bpf";

/// The loopback, which TEST_RUN takes a packet's interface to be.
pub const LO: u32 = 1;

/// Runs `work` on a thread in namespaces of its own, with a BPF file system for
/// pins and the loopback up.
///
/// # Panics
///
/// When `work` does, or when the namespaces cannot be made: these tests need root.
pub fn isolated<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter_namespaces().expect("namespaces of its own (this test needs root)");
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter_namespaces() -> Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("unshare")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("making mounts private")?;
    mount(
        Some("bpf"),
        "/sys/fs/bpf",
        Some("bpf"),
        MsFlags::empty(),
        NONE,
    )
    .context("a BPF file system")?;
    ip("link set lo up")
}

/// Runs `ip` with these words, in the thread's namespace.
///
/// # Errors
///
/// It fails; what it said.
pub fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .context("ip (package iproute2)")?;
    if !output.status.success() {
        bail!("ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A kernel parameter below /proc/sys/net, in the thread's namespace.
///
/// # Errors
///
/// It cannot be written.
pub fn sysctl(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).with_context(|| format!("writing {path}"))
}

/// Index of an interface in the thread's namespace.
///
/// # Errors
///
/// There is none of this name.
pub fn ifindex(name: &str) -> Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("no interface {name}"))
}

/// An object file of the kernel crate: `sidestep` or `bare`. They lie together,
/// where `SIDESTEP_EBPF_OBJECT` says or where `cargo xtask build` leaves them.
///
/// # Errors
///
/// They are not built.
pub fn object_path(name: &str) -> Result<PathBuf> {
    let file = format!("{name}.bpf.o");
    match std::env::var_os("SIDESTEP_EBPF_OBJECT") {
        Some(sidestep) => Some(PathBuf::from(sidestep).with_file_name(&file)),
        None => std::env::current_exe()?
            .ancestors()
            .map(|directory| directory.join("ebpf").join(&file))
            .find(|path| path.is_file()),
    }
    .filter(|path| path.is_file())
    .with_context(|| format!("{file} is not built: run `cargo xtask build`"))
}

fn object(name: &str) -> Result<Vec<u8>> {
    let path = object_path(name)?;
    fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// The bare program `pass` for an interface of the thread's namespace: a veth
/// takes what XDP turns around (`XDP_TX`) only where a program listens.
///
/// # Errors
///
/// The object is not built, or the kernel refuses.
pub fn listen_to_xdp(interface: &str) -> Result<()> {
    let object = object_path("bare")?;
    ip(&format!(
        "link set dev {interface} xdp obj {} program pass",
        object.display()
    ))
}

/// A packet's fate in an XDP program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XdpRun {
    /// What the program returned.
    pub action: XdpAction,
    /// The frame as it left it.
    pub frame: Vec<u8>,
}

/// What an XDP program can return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpAction {
    Aborted = 0,
    Drop = 1,
    Pass = 2,
    Tx = 3,
    Redirect = 4,
}

/// A frame's fate in a tcx program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcxRun {
    /// What the program returned.
    pub action: TcxAction,
    /// The frame as it left it.
    pub frame: Vec<u8>,
    /// The skb's mark as it left it.
    pub mark: u32,
}

/// What Sidestep's tcx programs can return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcxAction {
    /// On to the next program, or on its way.
    Next = -1,
    Drop = 2,
    Redirect = 7,
}

/// The kernel's `struct __sk_buff` as far as tests set it, by word.
const SKB_WORDS: usize = 48;
const SKB_MARK: usize = 2;
const SKB_IFINDEX: usize = 10;

/// Room for a frame that comes out.
const FRAME_ROOM: usize = 4096;

/// The loaded programs and their maps.
pub struct Programs {
    /// For attaching.
    pub ebpf: Ebpf,
    flows: Writer,
    counted: BTreeMap<u32, u64>,
}

impl Programs {
    /// Loads everything, with room for [`FLOWS`] flows.
    ///
    /// # Panics
    ///
    /// When the kernel refuses: these tests need root.
    pub fn load() -> Self {
        Self::load_sized(FLOWS, None)
    }

    /// Loads everything with other sizes.
    ///
    /// # Panics
    ///
    /// As [`Self::load`].
    pub fn load_sized(flows: u32, events_bytes: Option<u32>) -> Self {
        let loaded = Self::try_load(flows, events_bytes);
        let ebpf = loaded.expect("the kernel takes the programs (this test needs root)");
        Self {
            flows: flow_table(&ebpf),
            ebpf,
            counted: BTreeMap::new(),
        }
    }

    fn try_load(flows: u32, events_bytes: Option<u32>) -> Result<Ebpf> {
        let shape = TableShape::new(flows);
        let mut loader = EbpfLoader::new();
        loader
            .default_map_pin_directory(PINS)
            .override_global(TABLE_SHAPE, &shape, true)
            .map_max_entries(map::FLOW_BUCKETS, table::buckets(flows))
            .map_max_entries(map::FLOW_RECORDS, flows + table::RESTING)
            .map_max_entries(map::FLOW_STATS, flows);
        if let Some(bytes) = events_bytes {
            loader.map_max_entries(map::EVENTS, bytes);
        }
        let mut ebpf = loader.load(&object("sidestep")?)?;
        shape.keep(
            ebpf.map_mut(map::FLOW_SHAPE)
                .context("no map of the shape")?,
        )?;
        // The next load on this thread gets maps of its own.
        for (name, _) in ebpf.maps() {
            // `LOGGED` and aya-log's own are not pinned.
            let _ = fs::remove_file(format!("{PINS}/{name}"));
        }
        for name in [program::TAP_FROM_VM, program::TAP_TO_VM, program::DOOR_OUT] {
            let classifier: &mut SchedClassifier = typed(&mut ebpf, name)?;
            classifier.load().with_context(|| name)?;
        }
        let uplink: &mut Xdp = typed(&mut ebpf, program::UPLINK)?;
        uplink.load().context(program::UPLINK)?;
        let lookup: &mut SkLookup = typed(&mut ebpf, program::DOOR_SOCKET)?;
        lookup.load().context(program::DOOR_SOCKET)?;
        Ok(ebpf)
    }

    /// One packet through `uplink`, as if it had come in by the loopback.
    pub fn uplink(&self, frame: &[u8]) -> XdpRun {
        let uplink: &Xdp = self
            .ebpf
            .program(program::UPLINK)
            .expect("it is in the object")
            .try_into()
            .expect("it is XDP");
        run_xdp(uplink, frame)
    }

    /// One frame through a tcx program, on an interface, with a mark.
    pub fn tcx(&self, name: &str, frame: &[u8], ifindex: u32, mark: u32) -> TcxRun {
        let classifier: &SchedClassifier = self
            .ebpf
            .program(name)
            .expect("it is in the object")
            .try_into()
            .expect("it is a classifier");
        let mut skb = [0u32; SKB_WORDS];
        skb[SKB_MARK] = mark;
        skb[SKB_IFINDEX] = ifindex;
        let context: Vec<u8> = skb.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut context_out = vec![0; context.len()];
        let mut out = vec![0; FRAME_ROOM];
        let run = classifier
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(&context),
                ctx_out: Some(&mut context_out),
                ..Default::default()
            })
            .expect("BPF_PROG_TEST_RUN (this test needs root)");
        out.truncate(run.data_size_out as usize);
        let mark = &context_out[SKB_MARK * 4..SKB_MARK * 4 + 4];
        TcxRun {
            action: match run.return_value as i32 {
                -1 => TcxAction::Next,
                2 => TcxAction::Drop,
                7 => TcxAction::Redirect,
                other => panic!("{name} returned {other}"),
            },
            frame: out,
            mark: u32::from_ne_bytes(mark.try_into().expect("four octets")),
        }
    }

    fn hash<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.ebpf
            .map_mut(name)
            .expect("it is in the object")
            .try_into()
            .expect("it has these types")
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.ebpf
            .map_mut(name)
            .expect("it is in the object")
            .try_into()
            .expect("it has this type")
    }

    /// A flow and what to do with it.
    pub fn set_flow(&mut self, src: &str, dst: &str, action: FlowAction) {
        self.try_flow(src, dst, action).expect("room for a flow");
    }

    /// The same.
    ///
    /// # Errors
    ///
    /// There is no room.
    pub fn try_flow(
        &mut self,
        src: &str,
        dst: &str,
        mut action: FlowAction,
    ) -> Result<(), writer::Refused> {
        let key = flow_key(src, dst);
        if action.kind == FlowKind::Steered as u8 {
            let (src, dst) = action.rewritten();
            action.rewrite(&key, src, dst);
        }
        self.flows.put(&key, &action)
    }

    /// How five-tuples hash in the table of flows.
    pub fn shape(&mut self) -> TableShape {
        self.array(map::FLOW_SHAPE)
            .get(&0, 0)
            .expect("a table that can be read")
    }

    /// Slots of the table that are not zero.
    pub fn slots_taken(&self) -> usize {
        self.flows.slots_taken()
    }

    /// Writes flows from another thread, while packets run.
    pub fn flow_writer(&mut self) -> FlowWriter {
        FlowWriter {
            flows: flow_table(&self.ebpf),
        }
    }

    /// A flow that is over.
    pub fn remove_flow(&mut self, src: &str, dst: &str) {
        let was = self.flows.remove(&flow_key(src, dst));
        assert!(
            was.expect("a table that can be read"),
            "a flow that is there"
        );
    }

    /// Statistics of a flow.
    pub fn stats(&mut self, index: u32) -> FlowStats {
        self.array(map::FLOW_STATS)
            .get(&index, 0)
            .expect("statistics of this index")
    }

    /// Statistics as if an earlier packet had left them.
    pub fn set_stats(&mut self, index: u32, stats: FlowStats) {
        self.array(map::FLOW_STATS)
            .set(index, stats, 0)
            .expect("statistics of this index");
    }

    /// An anchor port in use by a call.
    pub fn set_anchor(&mut self, anchor: &str, call: u32) {
        self.hash(map::ANCHORS)
            .insert(AnchorKey::new(socket(anchor)), call, 0)
            .expect("room for an anchor");
    }

    /// An uplink and its MAC.
    pub fn set_uplink(&mut self, ifindex: u32, mac: Mac) {
        self.hash::<u32, Mac>(map::UPLINKS)
            .insert(ifindex, mac, 0)
            .expect("room for an uplink");
    }

    /// A VLAN of the host's on an uplink: its tags, the host's interface in it.
    pub fn set_vlan(&mut self, uplink: u32, tags: [u32; 2], ifindex: u32, mac: Mac) {
        let mut vlans = self.hash::<VlanKey, Vlan>(map::VLANS);
        for (from, on, to, by) in [
            (uplink, tags, ifindex, [0; 2]),
            (ifindex, [0; 2], uplink, tags),
        ] {
            let key = VlanKey {
                ifindex: from,
                tags: on,
            };
            let end = Vlan {
                ifindex: to,
                tags: by,
                mac,
                reserved: 0,
            };
            vlans.insert(key, end, 0).expect("room for a VLAN");
        }
    }

    /// A port to take signalling of.
    pub fn set_port(&mut self, port: u16, class: PortClass) {
        self.hash(map::SIGNALLING_PORTS)
            .insert(port.to_be(), class as u8, 0)
            .expect("room for a port");
    }

    /// A VM and its tap.
    pub fn set_vm(&mut self, vm: &str, ifindex: u32) {
        self.take_connections(vm, ifindex, true);
    }

    /// Whether connections of a VM that begin now are taken.
    pub fn take_connections(&mut self, vm: &str, ifindex: u32, take: bool) {
        let flags = if take { VM_CONNECTIONS } else { 0 };
        self.hash::<flow::Address, Vm>(map::VMS)
            .insert(address(vm), Vm { ifindex, flags }, 0)
            .expect("room for a VM");
    }

    /// The connections that are taken.
    pub fn connections(&mut self) -> HashMap<&mut MapData, ConnectionKey, u64> {
        self.hash(map::CONNECTIONS)
    }

    /// What of a VM's signalling passed because it cannot be read.
    pub fn unread(&mut self, vm: &str, why: Unread) -> Option<UnreadSeen> {
        let key = UnreadKey {
            vm: address(vm),
            why: why as u32,
        };
        self.hash(map::UNREAD).get(&key, 0).ok()
    }

    /// A door.
    pub fn set_door(&mut self, side: Side, ifindex: u32, mac: Mac) {
        let door = Door {
            ifindex,
            mac,
            reserved: 0,
        };
        self.array(map::DOORS)
            .set(side as u32, door, 0)
            .expect("two doors");
    }

    /// The namespace's end of a door.
    pub fn set_door_ns(&mut self, side: Side, ifindex: u32) {
        self.array(map::DOOR_NS)
            .set(side as u32, ifindex, 0)
            .expect("two doors");
    }

    /// The sockets behind the doors.
    pub fn door_sockets(&mut self) -> SockMap<&mut MapData> {
        self.ebpf
            .map_mut(map::DOOR_SOCKETS)
            .expect("it is in the object")
            .try_into()
            .expect("it is a sockmap")
    }

    /// The daemon vouches for itself until then, ns of CLOCK_MONOTONIC.
    pub fn set_lease(&mut self, deadline_ns: u64) {
        self.array(map::LEASE)
            .set(0, deadline_ns, 0)
            .expect("one lease");
    }

    /// MACs learned of a VM and a remote; `::`: of whatever it talked to last.
    pub fn neighbour(&mut self, vm: &str, remote: &str) -> Option<Neighbour> {
        let key = neighbour_key(vm, remote);
        self.hash(map::NEIGHBOURS).get(&key, 0).ok()
    }

    /// MACs as if they had been learned.
    pub fn set_neighbour(&mut self, vm: &str, remote: &str, neighbour: Neighbour) {
        let key = neighbour_key(vm, remote);
        self.hash(map::NEIGHBOURS)
            .insert(key, neighbour, 0)
            .expect("room for a neighbour");
    }

    /// When first fragments were taken.
    pub fn fragments(&mut self) -> HashMap<&mut MapData, sidestep_abi::door::FragmentKey, u64> {
        self.hash(map::FRAGMENTS)
    }

    /// What has been counted since the last call, on all CPUs.
    pub fn counted(&mut self) -> Vec<(Counter, u64)> {
        let map = self.ebpf.map(map::COUNTERS).expect("it is in the object");
        let counters = PerCpuArray::<_, u64>::try_from(map).expect("it has this type");
        let mut news = Vec::new();
        for counter in Counter::ALL {
            let index = *counter as u32;
            let now = counters.get(&index, 0).expect("a counter for each");
            let now: u64 = now.iter().sum();
            let before = self.counted.insert(index, now).unwrap_or(0);
            if now > before {
                news.push((*counter, now - before));
            }
        }
        news
    }

    /// Events since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let map = self.ebpf.map_mut(map::EVENTS).expect("it is in the object");
        let mut ring = RingBuf::try_from(map).expect("it is a ring buffer");
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            assert_eq!(item.len(), size_of::<Event>());
            // SAFETY: `Event` is plain integers, and the entry has its size.
            events.push(unsafe { item.as_ptr().cast::<Event>().read_unaligned() });
        }
        events
    }
}

/// Another way to the flows of loaded programs.
pub struct FlowWriter {
    flows: Writer,
}

impl FlowWriter {
    /// Gives a flow another action.
    pub fn replace(&mut self, src: &str, dst: &str, mut action: FlowAction) {
        let key = flow_key(src, dst);
        let (src, dst) = action.rewritten();
        action.rewrite(&key, src, dst);
        self.flows.put(&key, &action).expect("room for a flow");
    }
}

fn flow_table(ebpf: &Ebpf) -> Writer {
    let anew = |name: &str| match ebpf.map(name) {
        Some(Map::Array(data)) => data
            .info()
            .and_then(|info| MapData::from_id(info.id()))
            .map(Map::Array)
            .expect("it is loaded"),
        _ => panic!("{name} is an array of the object"),
    };
    let maps = writer::Maps {
        buckets: anew(map::FLOW_BUCKETS),
        records: anew(map::FLOW_RECORDS),
        shape: anew(map::FLOW_SHAPE),
    };
    Writer::of(maps).expect("a table of flows")
}

/// One packet through an XDP program.
pub fn run_xdp(xdp: &Xdp, frame: &[u8]) -> XdpRun {
    let mut out = vec![0; FRAME_ROOM];
    let run = xdp
        .test_run(TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..Default::default()
        })
        .expect("BPF_PROG_TEST_RUN (this test needs root)");
    out.truncate(run.data_size_out as usize);
    XdpRun {
        action: match run.return_value {
            0 => XdpAction::Aborted,
            1 => XdpAction::Drop,
            2 => XdpAction::Pass,
            3 => XdpAction::Tx,
            4 => XdpAction::Redirect,
            other => panic!("an XDP program returned {other}"),
        },
        frame: out,
    }
}

/// A program of a loaded object, as what it is.
///
/// # Errors
///
/// It is not there, or something else.
pub fn typed<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    ebpf.program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()
        .with_context(|| format!("{name} is of another type"))
}

/// ns of CLOCK_MONOTONIC, which the programs read too.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

fn socket(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address and port"))
}

/// An address as the maps have it.
pub fn address(text: &str) -> flow::Address {
    let ip: IpAddr = text
        .parse()
        .unwrap_or_else(|_| panic!("{text} is no address"));
    flow::address(ip)
}

fn neighbour_key(vm: &str, remote: &str) -> NeighbourKey {
    NeighbourKey {
        vm: address(vm),
        remote: address(remote),
    }
}

/// The key of a flow between `address:port`s.
pub fn flow_key(src: &str, dst: &str) -> FlowKey {
    FlowKey::new(socket(src), socket(dst))
}

/// An action that counts only, of call 7 with a clock of 8,000 Hz.
pub fn action(kind: FlowKind, stats: u32) -> FlowAction {
    FlowAction {
        stats,
        call: 7,
        kind: kind as u8,
        leg: FlowLeg::GatewayToTc as u8,
        clock_rate: 8_000,
        ..FlowAction::default()
    }
}

/// An action that rewrites to these addresses, at an anchor of this MAC. What
/// that changes in checksums depends on the flow: see [`Programs::set_flow`].
pub fn steer(stats: u32, src: &str, dst: &str, anchor_mac: Mac) -> FlowAction {
    let mut action = FlowAction {
        anchor_mac,
        ..action(FlowKind::Steered, stats)
    };
    action.rewrite(&flow_key(src, dst), socket(src), socket(dst));
    action
}
